"""Kubernetes' and KServe's objects against the published schemas and the official clients' models."""

import shutil
import subprocess
from pathlib import Path

import pytest
from tests.targets.comparing import peer

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

_KSERVE = """
import pathlib, re, sys
import kubernetes.client, kserve.models, yaml

def check(kind, body, path):
    # Every key is one of the model's, down to Kubernetes' own types.
    inside = re.fullmatch(r"list\\[(.+)\\]|dict\\(str, (.+)\\)", kind)
    if inside:
        for key, one in body.items() if isinstance(body, dict) else enumerate(body):
            check(inside[1] or inside[2], one, f"{path}.{key}")
        return
    model = getattr(kserve.models, kind, None) or getattr(kubernetes.client, kind, None)
    if model is None:
        return
    if hasattr(model, "attribute_map"):
        names = {wire: name for name, wire in model.attribute_map.items()}
        types = model.openapi_types
    else:
        names = {field.alias or name: name for name, field in model.model_fields.items()}
        types = {}
        model.model_validate(body)
    for key, one in body.items():
        assert key in names, f"{path}.{key}"
        if names[key] in types:
            check(types[names[key]], one, f"{path}.{key}")

for path in sys.argv[1:]:
    body = yaml.safe_load(pathlib.Path(path).read_text())
    check("V1beta1InferenceService", body, body["metadata"]["name"])
    print(body["metadata"]["name"])
    # The check can fail, in KServe's own part and in Kubernetes'.
    predictor = body["spec"]["predictor"]
    for place in (predictor, predictor.get("model") or predictor["containers"][0]):
        place["noSuchKey"] = 1
        try:
            check("V1beta1InferenceService", body, "wrong")
        except AssertionError as error:
            assert str(error).endswith(".noSuchKey"), error
        else:
            raise SystemExit(f"{path}: an unknown key was taken")
        del place["noSuchKey"]
"""

KINDS = [
    "ConfigMap", "Deployment", "HorizontalPodAutoscaler", "Namespace", "NetworkPolicy", "PodDisruptionBudget",
    "Service", "Service", "ServiceAccount",
]  # fmt: skip
OLDEST, NEWEST = "1.27", "1.37"


@pytest.fixture(scope="module")
def rendered(packaged, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What kubectl makes of the kustomization."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
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
    assert sorted(peer("venv-lint", _MODELS, rendered).split()) == KINDS


def test_kserves_own_models_know_every_key(packaged) -> None:
    files = [packaged("kserve") / name for name in ("inferenceservice.yaml", "onnx-runtime.yaml")]
    assert peer("venv-kserve", _KSERVE, *files).split() == ["pointsman", "pointsman-graph"]
