"""The container, and what runs it: Docker with compose, Kubernetes with kustomize."""

import shutil
from pathlib import Path

import pointsman
from pointsman.artifact.store import Artifact
from pointsman.deploy.package.target import Step, Target


def copy_modules(folder: str) -> Step:
    """Copy this package's own modules into `folder`, without the shipped router and the templates.

    So the image needs no index to find them on.
    """

    def step(artifact: Artifact, stage: Path) -> None:
        source = Path(pointsman.__file__).parent
        unwanted = shutil.ignore_patterns("__pycache__", "shipped", "templates")
        shutil.copytree(source, stage / folder / "pointsman", ignore=unwanted)

    return step


TARGETS = (
    Target(
        name="docker",
        purpose="the gateway as an image, with Ollama, Prometheus and Grafana beside it",
        needs="a container engine with compose",
        tested="built in a Debian root by chroot, started, asked and ended; hadolint, compose, promtool, "
        "Prometheus; no container engine built it",
        whole_artifact="router",
        step=copy_modules("app"),
    ),
    Target(
        name="kubernetes",
        purpose="the image on a cluster: probes, autoscaling, disruption budget, draining",
        needs="Kubernetes 1.27 or newer, the image of target docker in a registry",
        tested="kubectl kustomize, published schemas, the official client's models; no cluster was reached",
    ),
)
