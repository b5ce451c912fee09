"""Kubernetes' objects against the published schemas and the official clients' models."""

import subprocess
from pathlib import Path

import pytest
from tests.targets.conftest import peer

_MODELS = """
import json, sys
import yaml
from kubernetes import client
api, kinds = client.ApiClient(), []
class Answer:
    def __init__(self, body): self.data = json.dumps(body)
for body in yaml.safe_load_all(open(sys.argv[1])):
    group, _, version = body["apiVersion"].rpartition("/")
    group = group.split(".")[0].capitalize() if group else ""
    short = version.capitalize() + body["kind"]
    names = [name for name in dir(client) if name in (short, group + short)]
    read = api.deserialize(json.dumps(body), names[0], "application/json")
    # A misspelt key is dropped by the models, so what comes back is compared.
    assert api.sanitize_for_serialization(read).keys() == body.keys(), body["kind"]
    def same(a, b, path):
        if isinstance(b, dict):
            assert set(b) <= set(a), (path, set(b) - set(a))
            for key in b: same(a[key], b[key], path + "." + key)
        elif isinstance(b, list):
            assert len(a) == len(b), path
            for x, y in zip(a, b): same(x, y, path)
    same(api.sanitize_for_serialization(read), body, body["kind"])
    kinds.append(body["kind"])
print(" ".join(kinds))
"""

_SCHEMAS = """
import sys
import kubernetes_validate, yaml
kinds = []
for body in yaml.safe_load_all(open(sys.argv[1])):
    # The oldest release that the page names, and the newest one that is published; no unknown key.
    for version in sys.argv[2:]:
        kubernetes_validate.validate(body, version, strict=True)
    kinds.append(body["kind"])
print(" ".join(kinds))
"""

_REFUSED = """
import sys
import kubernetes_validate, yaml
for body in yaml.safe_load_all(open(sys.argv[1])):
    if "spec" not in body:
        continue
    body["spec"]["noSuchKey"] = 1
    try:
        kubernetes_validate.validate(body, sys.argv[2], strict=True)
    except Exception as error:
        assert "noSuchKey" in str(error), error
    else:
        raise AssertionError(body["kind"] + ": an unknown key was taken")
print("refused")
"""

KINDS = [
    "ConfigMap", "Deployment", "HorizontalPodAutoscaler", "Namespace", "NetworkPolicy", "PodDisruptionBudget",
    "Service", "Service", "ServiceAccount",
]  # fmt: skip
OLDEST, NEWEST = "1.27", "1.37"


@pytest.fixture(scope="module")
def rendered(packaged, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What kubectl makes of the kustomization."""
    made = subprocess.run(["kubectl", "kustomize", packaged("kubernetes")], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    path = tmp_path_factory.mktemp("kubernetes") / "all.yaml"
    path.write_text(made.stdout, encoding="utf-8")
    return path


def test_every_object_is_valid_by_the_published_schemas(rendered: Path) -> None:
    assert sorted(peer("venv-lint", _SCHEMAS, rendered, OLDEST, NEWEST).split()) == KINDS


def test_the_schemas_refuse_an_unknown_key(rendered: Path) -> None:
    assert peer("venv-lint", _REFUSED, rendered, NEWEST) == "refused"


def test_the_official_clients_models_take_every_object(rendered: Path) -> None:
    assert sorted(peer("venv-tr", _MODELS, rendered).split()) == KINDS
