"""The container's folder and Kubernetes' objects: what one file says, the others and the gateway say too."""

import json
import re
import tomllib
from dataclasses import replace
from importlib.metadata import distribution
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from dockerfile_parse import DockerfileParser
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from prometheus_client import generate_latest
from tests.deploy.full_artifact import build_full_artifact

from pointsman.artifact.store import Artifact
from pointsman.deploy.package.build import build_package
from pointsman.deploy.package.catalogue import target_named
from pointsman.serve.gateway import build
from pointsman.serve.routes import PUBLIC
from pointsman.serve.settings import GatewaySettings
from pointsman.serve.settings_loader import load_settings

ROOT = Path(__file__).parents[2]
MARGIN_S = 5
"""What is given beyond the gateway's own steps: for the signal, the last words and the kill."""


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return build_full_artifact(tmp_path_factory.mktemp("full") / "full")


@pytest.fixture(scope="module")
def docker(full: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docker") / "made"
    build_package(target_named("docker"), full, folder)
    return folder


@pytest.fixture(scope="module")
def kubernetes(full: Artifact, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Kind to object; the two Services under their names; the settings under `environment`."""
    folder = tmp_path_factory.mktemp("kubernetes") / "made"
    build_package(target_named("kubernetes"), full, folder)
    found: dict[str, Any] = {}
    for path in folder.glob("*.yaml"):
        for one in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            found[one["metadata"]["name"] if one["kind"] == "Service" else one["kind"]] = one
    literals = found["Kustomization"]["configMapGenerator"][0]["literals"]
    found["environment"] = dict(line.split("=", 1) for line in literals)
    return found


def image_of(docker: Path) -> dict[str, Any]:
    """The Dockerfile's last stage: its environment, user and ports."""
    with (docker / "Dockerfile").open("rb") as file:
        parser = DockerfileParser(fileobj=file, cache_content=True)
        said = {one["instruction"]: one["value"] for one in parser.structure}
        return {**said, "ENV": dict(parser.envs)}


def settings_of(docker: Path, **more: str) -> GatewaySettings:
    """What the gateway makes of the image's variables and the given ones; keys are not read yet."""
    environment = {k: v for k, v in image_of(docker)["ENV"].items() if k.startswith("POINTSMAN_")}
    return load_settings({}, None, {**environment, **more})


def containers(deployment: dict[str, Any]) -> dict[str, Any]:
    """The one container of the pods."""
    (one,) = deployment["spec"]["template"]["spec"]["containers"]
    return one


class TestLock:
    def locked(self, docker: Path) -> dict[str, str]:
        lock = (docker / "requirements.lock").read_text(encoding="utf-8")
        entries = [entry for entry in re.split(r"\n(?=\S)", lock) if not entry.startswith("#")]
        assert all("==" in entry and "--hash=sha256:" in entry for entry in entries if entry.strip())
        return dict(re.findall(r"^([a-z0-9-]+)==([^\s;]+)", lock, re.MULTILINE))

    def test_versions_are_those_that_the_tests_run_with(self, docker: Path) -> None:
        pairs = re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE)
        tested = {canonicalize_name(name): version for name, version in pairs}
        locked = self.locked(docker)
        assert {name: tested.get(name) for name in locked} == locked

    def test_it_holds_what_the_gateway_needs_and_nothing_else(self, docker: Path) -> None:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        wanted = [
            Requirement(one) for one in (*project["dependencies"], *project["optional-dependencies"]["serve"])
        ]
        needed: set[str] = set()
        while wanted:
            one = wanted.pop()
            if one.marker is not None and not any(
                one.marker.evaluate({"extra": extra}) for extra in ("", *one.extras)
            ):
                continue
            name = canonicalize_name(one.name)
            if (key := name + str(sorted(one.extras))) in needed:
                continue
            needed.add(key)
            for line in distribution(name).requires or ():
                further = Requirement(line)
                if further.marker is None or any(
                    further.marker.evaluate({"extra": extra}) for extra in ("", *one.extras)
                ):
                    wanted.append(further)
        assert {key.partition("[")[0] for key in needed} == set(self.locked(docker))

    def test_nothing_that_only_makes_artifacts_is_in_it(self, docker: Path) -> None:
        assert not {"torch", "transformers", "onnx"} & set(self.locked(docker))


class TestImage:
    def test_its_variables_are_settings_and_want_keys_from_files(self, docker: Path) -> None:
        settings = settings_of(docker)
        assert settings.server.host == settings.server.admin_host == "0.0.0.0"
        assert settings.auth.keys_file and settings.auth.admin_keys_file and not settings.auth.by_proxy

    def test_its_ports_are_the_gateways_and_the_health_check_asks_one_of_its_routes(
        self, docker: Path
    ) -> None:
        server, image = settings_of(docker).server, image_of(docker)
        assert image["EXPOSE"].split() == [str(server.port), str(server.admin_port)]
        port, path = re.search(r"http://127\.0\.0\.1:(\d+)(/\w+)'", image["HEALTHCHECK"]).groups()  # type: ignore[union-attr]
        assert port == str(server.port) and is_open(path)

    def test_its_user_is_not_root_and_no_secret_is_in_the_folder(self, docker: Path) -> None:
        user, group = map(int, image_of(docker)["USER"].split(":"))
        assert user > 0 and group > 0
        assert ".env" not in (docker / "Dockerfile").read_text(encoding="utf-8")
        assert not (docker / "secrets").exists()

    def test_only_what_it_copies_goes_to_the_builder(self, docker: Path) -> None:
        copied = re.findall(
            r"^COPY (?!--from)(\S+) ", (docker / "Dockerfile").read_text("utf-8"), re.MULTILINE
        )
        lines = (docker / ".dockerignore").read_text(encoding="utf-8").splitlines()
        assert lines[0] == "*" and [line[1:] for line in lines if line.startswith("!")] == copied

    def test_compose_gives_longer_than_the_gateway_takes_to_leave(self, docker: Path) -> None:
        gateway = yaml.safe_load((docker / "compose.yml").read_text("utf-8"))["services"]["gateway"]
        server = settings_of(docker, **gateway["environment"]).server
        given = float(gateway["stop_grace_period"].removesuffix("s"))
        assert given >= server.drain_delay_s + server.grace_s + MARGIN_S

    def test_compose_mounts_the_keys_where_the_image_looks(self, docker: Path) -> None:
        compose = yaml.safe_load((docker / "compose.yml").read_text("utf-8"))
        auth = settings_of(docker).auth
        looked = {str(auth.keys_file), str(auth.admin_keys_file)}
        assert {f"/run/secrets/{name}" for name in compose["services"]["gateway"]["secrets"]} == looked
        made = (docker / "secrets.example.sh").read_text(encoding="utf-8")
        assert all(Path(secret["file"]).name in made for secret in compose["secrets"].values())


class TestKubernetes:
    def test_its_settings_are_the_gateways(self, kubernetes: dict[str, Any], docker: Path) -> None:
        environment = {k: v for k, v in kubernetes["environment"].items() if k != "POINTSMAN_THREADS"}
        assert settings_of(docker, **environment) != settings_of(docker)

    def test_pods_are_given_longer_than_the_gateway_takes_to_leave(
        self, kubernetes: dict[str, Any], docker: Path
    ) -> None:
        server = settings_of(docker, **kubernetes["environment"]).server
        given = kubernetes["Deployment"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        assert given >= server.drain_delay_s + server.grace_s + MARGIN_S

    def test_a_pod_drains_for_longer_than_its_readiness_takes_to_be_seen(
        self, kubernetes: dict[str, Any], docker: Path
    ) -> None:
        probe = containers(kubernetes["Deployment"])["readinessProbe"]
        drain_s = settings_of(docker, **kubernetes["environment"]).server.drain_delay_s
        assert drain_s >= probe["periodSeconds"] * probe["failureThreshold"] + probe["timeoutSeconds"]

    def test_cores_are_threads(self, kubernetes: dict[str, Any]) -> None:
        resources = containers(kubernetes["Deployment"])["resources"]
        assert resources["limits"] == resources["requests"]
        assert resources["limits"]["cpu"] == kubernetes["environment"]["POINTSMAN_THREADS"]

    def test_probes_ask_open_routes_of_the_public_port(self, kubernetes: dict[str, Any]) -> None:
        container = containers(kubernetes["Deployment"])
        for name in ("startupProbe", "livenessProbe", "readinessProbe"):
            asked = container[name]["httpGet"]
            assert is_open(asked["path"]) and asked["port"] == "http"
        assert container["livenessProbe"]["httpGet"]["path"] == "/livez"

    def test_ports_and_the_user_are_the_images(self, kubernetes: dict[str, Any], docker: Path) -> None:
        deployment, image = kubernetes["Deployment"], image_of(docker)
        ports = {port["name"]: port["containerPort"] for port in containers(deployment)["ports"]}
        assert [str(port) for port in ports.values()] == image["EXPOSE"].split()
        for name in ("pointsman", "pointsman-admin"):
            assert {port["targetPort"] for port in kubernetes[name]["spec"]["ports"]} <= set(ports)
        for rule in kubernetes["NetworkPolicy"]["spec"]["ingress"]:
            assert {port["port"] for port in rule["ports"]} <= set(ports)
        context = deployment["spec"]["template"]["spec"]["securityContext"]
        assert f"{context['runAsUser']}:{context['runAsGroup']}" == image["USER"]

    def test_keys_are_mounted_where_the_image_looks(self, kubernetes: dict[str, Any], docker: Path) -> None:
        mounts = {m["name"]: m["mountPath"] for m in containers(kubernetes["Deployment"])["volumeMounts"]}
        auth = settings_of(docker).auth
        assert {str(Path(str(file)).parent) for file in (auth.keys_file, auth.admin_keys_file)} == {
            mounts["keys"]
        }

    def test_every_selector_finds_the_pods(self, kubernetes: dict[str, Any]) -> None:
        labels = kubernetes["Deployment"]["spec"]["template"]["metadata"]["labels"]
        assert kubernetes["Deployment"]["spec"]["selector"]["matchLabels"] == labels
        assert kubernetes["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
        assert kubernetes["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels
        assert kubernetes["pointsman"]["spec"]["selector"] == labels
        assert kubernetes["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == "pointsman"

    def test_a_disruption_may_take_a_pod_and_must_leave_one(self, kubernetes: dict[str, Any]) -> None:
        fewest = kubernetes["HorizontalPodAutoscaler"]["spec"]["minReplicas"]
        assert 1 <= kubernetes["PodDisruptionBudget"]["spec"]["minAvailable"] < fewest

    def test_it_scales_on_a_metric_of_the_gateway_before_the_queue_is_full(
        self, kubernetes: dict[str, Any], docker: Path, metrics: set[str]
    ) -> None:
        scaling = kubernetes["HorizontalPodAutoscaler"]["spec"]["metrics"]
        (pods,) = [one["pods"] for one in scaling if one["type"] == "Pods"]
        assert pods["metric"]["name"] in metrics
        assert float(pods["target"]["averageValue"]) < settings_of(docker).limits.queue


class TestMonitoring:
    def test_every_metric_of_the_dashboard_is_one_of_the_gateway(
        self, docker: Path, metrics: set[str]
    ) -> None:
        board = json.loads((docker / "grafana" / "pointsman.json").read_text(encoding="utf-8"))
        named = set(re.findall(r"pointsman_\w+", " ".join(one["expr"] for one in expressions(board))))
        assert len(named) >= 6
        assert named <= metrics

    def test_prometheus_asks_the_admin_port_with_the_key_that_compose_mounts(self, docker: Path) -> None:
        (job,) = yaml.safe_load((docker / "prometheus/prometheus.yml").read_text("utf-8"))["scrape_configs"]
        compose = yaml.safe_load((docker / "compose.yml").read_text("utf-8"))
        port = settings_of(docker).server.admin_port
        assert (
            job["static_configs"] == [{"targets": [f"gateway:{port}"]}] and job["metrics_path"] == "/metrics"
        )
        key = Path(job["authorization"]["credentials_file"])
        assert key.parent == Path("/run/secrets") and key.name in compose["services"]["prometheus"]["secrets"]


def expressions(board: dict[str, Any]) -> list[dict[str, Any]]:
    """The queries of a dashboard."""
    return [target for panel in board["panels"] for target in panel["targets"]]


def is_open(path: str) -> bool:
    """Whether a path is a route of the public listener that asks for no key."""
    return any((route.method, route.path, route.access) == ("GET", path, "open") for route in PUBLIC)


@pytest.fixture(scope="module")
def metrics(full: Artifact) -> set[str]:
    """The names of every series that a gateway with a loaded router has or may get."""
    gateway = build(load_settings({"inference": {"artifact": str(full.path)}}, None, {}))
    # Drift shows after many texts only, and for an artifact that knows its calibration's queries.
    gateway.engine.main = replace(gateway.engine.load(full.path), drift=SimpleNamespace(index=0.0))
    text = generate_latest(gateway.metrics.registry).decode()
    names: set[str] = set()
    for name, kind in re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE):
        names |= {name + end for end in ("_bucket", "_sum", "_count")} if kind == "histogram" else {name}
    return names
