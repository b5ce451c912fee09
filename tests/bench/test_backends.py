from pathlib import Path

import pytest
from tests.convert.products import toy_artifact
from tools.benchmark_goals import read_goals

from pointsman.artifact.store import Artifact
from pointsman.bench.backends import LEFT_OUT, Plan, make_plan
from pointsman.bench.report.tables import OURS
from pointsman.bench.results import Kind, Scenario
from pointsman.errors import IntegrityError

USUAL = Scenario(Kind.LATENCY, 1, 1, (16,))
SHORT = Scenario(Kind.LATENCY, 1, 1, (8,))


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return toy_artifact(tmp_path / "toy")


def planned(artifact: Artifact, folder: Path, *leave_out: str, reference: Path | None = None) -> Plan:
    folder.mkdir(exist_ok=True)
    return make_plan(artifact, reference, [SHORT, USUAL], folder, leave_out)


def test_every_backend_is_listed_once_and_measured_or_excused(artifact: Artifact, tmp_path: Path) -> None:
    plan = planned(artifact, tmp_path / "made")
    names = [backend.name for backend in plan.backends]
    assert len(set(names)) == len(names)
    running = {worker.backend for worker in plan.workers} | {program.backend for program in plan.programs}
    for backend in plan.backends:
        assert bool(backend.skipped) != (backend.name in running), backend


def test_names_of_goals_and_tables_are_names_of_backends(artifact: Artifact, tmp_path: Path) -> None:
    names = {backend.name for backend in planned(artifact, tmp_path / "made").backends}
    for goal in read_goals():
        if goal.less != "route_many":
            assert {goal.more, goal.less} - {None} <= names, goal.title
    assert {"folded", "int8", "router_program", "convert"} <= names & set(OURS)


def test_without_a_reference_nothing_needs_one(artifact: Artifact, tmp_path: Path) -> None:
    plan = planned(artifact, tmp_path / "made")
    reasons = {backend.name: backend.skipped for backend in plan.backends}
    for name in ("torch", "torch_compile", "torch_program", "convert", "guide_loop"):
        assert "--reference" in reasons[name]


def test_with_a_reference_its_size_is_that_of_its_weights(artifact: Artifact, tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "model.safetensors").write_bytes(b"0" * 123)
    plan = planned(artifact, tmp_path / "made", reference=checkpoint)
    sizes = {backend.name: backend.file_bytes for backend in plan.backends if not backend.skipped}
    assert sizes["torch"] == 123
    assert {"torch_compile", "guide_loop", "torch_program", "convert"} <= set(sizes)


def test_files_to_compare_with_are_made_in_the_folder(artifact: Artifact, tmp_path: Path) -> None:
    plan = planned(artifact, tmp_path / "made")
    made = sorted(path.name for path in (tmp_path / "made").iterdir())
    assert made == ["folded_products_1x16.onnx", "guide_quantized.onnx", "ort_optimized.onnx"]
    assert plan.facts["ort_optimized"] == {}
    assert plan.facts["folded_products"]["1x16"]["products"] == 2


def test_what_is_left_out_is_not_even_made(artifact: Artifact, tmp_path: Path) -> None:
    plan = planned(artifact, tmp_path / "made", "ort_optimized", "guide_quantized", "folded")
    reasons = {backend.name: backend.skipped for backend in plan.backends}
    assert reasons["ort_optimized"] == reasons["folded"] == LEFT_OUT
    assert not (tmp_path / "made" / "guide_quantized.onnx").exists()
    assert "folded" not in {worker.backend for worker in plan.workers}


def test_a_peer_that_is_not_installed_says_how_to_get_it(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    plan = planned(artifact, tmp_path / "made")
    reasons = {backend.name: backend.skipped for backend in plan.backends}
    for name in ("openvino", "openvino_nncf", "openvino_nncf_rate"):
        assert "openvino and nncf: not installed; `nox -s peers`" in reasons[name]


def test_products_are_measured_where_they_were_made(artifact: Artifact, tmp_path: Path) -> None:
    plan = planned(artifact, tmp_path / "made")
    worker = next(worker for worker in plan.workers if worker.backend == "folded_products")
    assert worker.takes(USUAL)
    assert not worker.takes(SHORT)


def test_the_default_variant_is_the_route_many_to_judge(artifact: Artifact, tmp_path: Path) -> None:
    workers = {worker.backend: worker for worker in planned(artifact, tmp_path / "made").workers}
    assert workers["route_many"].settings["variant"] == "folded"


def test_an_altered_artifact_is_not_measured(artifact: Artifact, tmp_path: Path) -> None:
    (artifact.path / "onnx" / "model.onnx").write_bytes(b"other")
    with pytest.raises(IntegrityError):
        planned(artifact, tmp_path / "made")
