"""A real MLflow with a SQLite store, in an environment of its own: its pyarrow is older than ours."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.targets.comparing import ROOT, compare, runtime

from pointsman.artifact.registry import Registry
from pointsman.artifact.store import Artifact, rewrite_manifest
from pointsman.decision import Decision
from pointsman.policy import Policy

Call = Callable[..., subprocess.CompletedProcess[str]]

PREDICT = """
import json, sys
import mlflow, pandas
texts = json.load(open(sys.argv[2]))
model = mlflow.pyfunc.load_model(sys.argv[1])
print(json.dumps(model.predict(pandas.DataFrame({"query": texts})).to_dict("records")))
"""
LOGITS = """
import json, sys
import mlflow, numpy
model = mlflow.pyfunc.load_model(sys.argv[1])
rows = []
for ids in json.load(open(sys.argv[2])):
    feed = {"input_ids": numpy.array([ids]), "attention_mask": numpy.ones((1, len(ids)), numpy.int64)}
    rows.append(list(model.predict(feed).values())[0][0].tolist())
print(json.dumps(rows))
"""


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Call:
    """Run the environment's Python on a store of this module's own."""
    python = runtime("venv-mlflow", "bin", "python")
    folder = tmp_path_factory.mktemp("mlflow")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "BERT_"))},
        "PYTHONPATH": str(ROOT / "src"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        command = [str(python), *map(str, words)]
        return subprocess.run(
            command, capture_output=True, text=True, cwd=folder, env=environment, timeout=600, check=False
        )

    return run


def pointsman(call: Call, *words: object) -> dict[str, str]:
    done = call("-m", "pointsman", "mlflow", *words, "--json")
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def predicted(call: Call, script: str, model: str, work: object, place: Path) -> list:
    place.write_text(json.dumps(work), encoding="utf-8")
    done = call("-c", script, model, place)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_a_registered_artifact_decides_the_same_and_comes_back(
    call: Call, artifact: Artifact, texts: list[str], tmp_path: Path
) -> None:
    from pointsman.runtime.router import Router

    model = pointsman(call, "register", artifact.path, "router", "--alias", "stable")["model"]
    decisions: list[Decision] = Router.open(artifact).route_many(texts)
    found = predicted(call, PREDICT, "models:/router@stable", texts, tmp_path / "texts.json")
    compare("the default file in MLflow, pyfunc", texts, decisions, found, 1e-3)
    assert found == [decision.to_dict() for decision in decisions]
    pointsman(call, "load", model, "--output", tmp_path / "back")
    back = Artifact.open(tmp_path / "back")
    back.verify()
    assert back.manifest.id == artifact.manifest.id
    assert call("-m", "pointsman", "mlflow", "load", model, "--output", tmp_path / "back").returncode == 4


def test_the_onnx_flavour_is_the_graph(
    call: Call, artifact: Artifact, texts: list[str], tmp_path: Path
) -> None:
    from pointsman.runtime.router import Router

    model = pointsman(call, "log", artifact.path, "--flavor", "onnx")["model"]
    router = Router.open(artifact)
    ids = [encoding.ids for encoding in router.encode(texts[:100])]
    found = predicted(call, LOGITS, model, ids, tmp_path / "ids.json")
    for text, row in zip(texts, found, strict=False):
        assert row == pytest.approx(router.logits([text])[0].tolist(), abs=1e-5)
    done = call("-m", "pointsman", "mlflow", "load", model, "--output", tmp_path / "back")
    assert done.returncode == 3 and "carries no artifact" in done.stderr


def test_aliases_are_ours_and_nothing_is_logged_twice(
    call: Call, artifact: Artifact, texts: list[str], tmp_path: Path
) -> None:
    other = rewrite_manifest(
        artifact,
        tmp_path / "other",
        Artifact.open(artifact.path).manifest.__class__(
            **{
                **{name: getattr(artifact.manifest, name) for name in artifact.manifest.__slots__},
                "policy": Policy(cloud_threshold=0.9),
            }
        ),
    )
    registry = Registry(tmp_path / "registry")
    registry.publish(artifact, "one")
    registry.publish(other, "two")
    registry.promote("one", "stable")
    registry.promote("two", "canary")
    first = pointsman(call, "mirror", registry.path, "mirrored")
    assert first["stable"] != first["canary"]
    registry.promote("two", "stable")
    assert pointsman(call, "mirror", registry.path, "mirrored") == {
        "canary": first["canary"],
        "stable": first["canary"],
    }
    found = predicted(call, PREDICT, "models:/mirrored@stable", texts[:50], tmp_path / "texts.json")
    from pointsman.runtime.router import Router

    assert [row["target"] for row in found] == [d.target for d in Router.open(other).route_many(texts[:50])]


def test_what_is_not_there_is_said(call: Call, artifact: Artifact, tmp_path: Path) -> None:
    done = call("-m", "pointsman", "mlflow", "load", "models:/none@stable", "--output", tmp_path / "x")
    assert done.returncode == 3
    assert "none" in done.stderr and "Traceback" not in done.stderr
    done = call("-m", "pointsman", "mlflow", "mirror", tmp_path / "empty", "router")
    assert done.returncode == 2 and "has no alias" in done.stderr
    assert not (tmp_path / "x").exists()
