"""The session: what was asked for runs, or an error says what is missing."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto
from tests.runtime.graphs import summed

from pointsman.errors import ArtifactError, RuntimeUnavailableError
from pointsman.runtime.session import CPU, Session, SessionConfig, available_threads, resolve_providers

TABLE = np.array([[0, 0], [1, 0], [0, 1], [2, -1]])
IDS = np.array([[1, 2, 0], [3, 3, 3]])
MASK = np.array([[1, 1, 0], [1, 1, 1]])
ANSWER = np.array([[1, 1], [6, -3]], np.float32)


def test_a_batch_is_answered_in_float32() -> None:
    logits = Session(summed(TABLE)).run(IDS, MASK)
    assert logits.dtype == np.float32
    np.testing.assert_array_equal(logits, ANSWER)


def test_the_feed_is_built_from_the_models_own_inputs() -> None:
    """Token types are all 0; the mask goes only to a model that asks for it."""
    typed = Session(summed(TABLE, ("input_ids", "token_type_ids")))
    np.testing.assert_array_equal(typed.run(IDS, MASK), ANSWER)
    masked = Session(summed(TABLE, ("input_ids", "attention_mask", "token_type_ids")))
    np.testing.assert_array_equal(masked.run(IDS, MASK), ANSWER + MASK.sum(axis=1, keepdims=True))


def test_the_feed_follows_names_not_positions() -> None:
    session = Session(summed(TABLE, ("token_type_ids", "attention_mask", "input_ids")))
    np.testing.assert_array_equal(session.run(IDS, MASK), ANSWER + MASK.sum(axis=1, keepdims=True))


def test_a_model_of_int32_runs_too() -> None:
    np.testing.assert_array_equal(Session(summed(TABLE, kind=TensorProto.INT32)).run(IDS, MASK), ANSWER)


@pytest.mark.parametrize("inputs", [("input_ids", "position_ids"), ("input_ids", "pixel_values")])
def test_an_input_that_nobody_can_fill_is_refused(inputs: tuple[str, ...]) -> None:
    with pytest.raises(ArtifactError, match=inputs[1]):
        Session(summed(TABLE, inputs))


@pytest.mark.parametrize("rows", [1, 2, 3, 5])
def test_a_file_of_one_fixed_shape_answers_as_a_dynamic_one(rows: int) -> None:
    fixed = Session(summed(TABLE, shape=(2, 6)))
    assert fixed.fixed_shape == (2, 6)
    ids = np.resize(IDS, (rows, 3))
    mask = np.ones_like(ids)
    np.testing.assert_array_equal(fixed.run(ids, mask), Session(summed(TABLE)).run(ids, mask))


def test_a_text_longer_than_the_fixed_shape_is_refused() -> None:
    with pytest.raises(ArtifactError, match="exactly 2 tokens, found 3"):
        Session(summed(TABLE, shape=(1, 2))).run(IDS, MASK)


@pytest.mark.parametrize("data", [b"", b"no model", summed(TABLE)[:50]])
def test_what_is_no_model_is_refused(data: bytes) -> None:
    with pytest.raises(ArtifactError, match="ONNX Runtime"):
        Session(data)


def test_a_token_that_the_model_does_not_know_is_an_error_of_the_tree() -> None:
    with pytest.raises(ArtifactError, match="cannot run"):
        Session(summed(TABLE)).run(np.array([[99]]), np.array([[1]]))


@pytest.mark.parametrize("provider", ["cuda", "CUDAExecutionProvider", "abacus"])
def test_a_provider_that_is_absent_is_an_error(provider: str) -> None:
    if provider != "abacus" and "CUDAExecutionProvider" in ort.get_available_providers():
        provider = "coreml"
    with pytest.raises(RuntimeUnavailableError, match=f"provider '{provider}'"):
        Session(summed(TABLE), SessionConfig(providers=(provider,)))


def test_the_fallback_has_to_be_asked_for_and_is_said() -> None:
    session = Session(summed(TABLE), SessionConfig(providers=("abacus",), allow_cpu_fallback=True))
    assert session.providers == (CPU,)
    np.testing.assert_array_equal(session.run(IDS, MASK), ANSWER)


@pytest.mark.parametrize("key", ["cpu", CPU])
def test_options_are_found_under_either_name_of_a_provider(key: str) -> None:
    config = SessionConfig(providers=("cpu",), provider_options={key: {"arena": "0"}})
    assert resolve_providers(config) == [(CPU, {"arena": "0"})]


def test_no_provider_at_all_is_refused() -> None:
    with pytest.raises(RuntimeUnavailableError, match="providers"):
        SessionConfig(providers=())


def test_threads_are_what_was_asked_for() -> None:
    assert Session(summed(TABLE), SessionConfig(threads=3)).threads == 3
    assert Session(summed(TABLE)).threads == available_threads()


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2"])
def test_what_is_no_number_of_threads_is_refused(threads: Any) -> None:
    with pytest.raises(RuntimeUnavailableError, match=f"found {threads!r}"):
        SessionConfig(threads=threads)


@pytest.mark.parametrize("providers", ["cpu", None, {"cpu"}, [None], [("CPUExecutionProvider", {})]], ids=str)
def test_what_is_no_list_of_providers_is_refused(providers: Any) -> None:
    with pytest.raises(RuntimeUnavailableError, match="providers: expected a list of names"):
        SessionConfig(providers=providers)


@pytest.mark.parametrize("options", [None, [{}], {"cpu": None}], ids=str)
def test_what_is_no_table_of_options_is_refused(options: Any) -> None:
    with pytest.raises(RuntimeUnavailableError, match="provider_options: expected"):
        SessionConfig(provider_options=options)


AFFINITY = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


@pytest.mark.parametrize(
    ("quota", "threads"),
    [
        ("max 100000", AFFINITY),
        ("100000 100000", 1),
        ("50000 100000", 1),
        ("1000 100000", 1),
        ("999900000 100000", AFFINITY),
        ("150000 100000", min(2, AFFINITY)),
        ("nonsense", AFFINITY),
        ("", AFFINITY),
    ],
)
def test_the_quota_of_cgroup_2_cuts_the_threads(tmp_path: Path, quota: str, threads: int) -> None:
    (tmp_path / "cpu.max").write_text(quota + "\n", encoding="ascii")
    assert available_threads(tmp_path) == threads


@pytest.mark.parametrize(
    ("quota", "period", "threads"),
    [("-1", "100000", AFFINITY), ("100000", "100000", 1), ("100000", "0", AFFINITY), ("x", "1", AFFINITY)],
)
def test_the_quota_of_cgroup_1_does_too(tmp_path: Path, quota: str, period: str, threads: int) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(quota, encoding="ascii")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text(period, encoding="ascii")
    assert available_threads(tmp_path) == threads


def test_the_quota_of_any_group_around_the_process_counts(tmp_path: Path) -> None:
    """As systemd has it: the service's own group is deep in the tree, and the root has no quota at all."""
    service = tmp_path / "system.slice" / "pointsman.service"
    service.mkdir(parents=True)
    groups = tmp_path / "groups"
    groups.write_text("0::/system.slice/pointsman.service\n", encoding="ascii")
    assert available_threads(tmp_path, groups) == AFFINITY
    (service / "cpu.max").write_text("max 100000\n", encoding="ascii")
    (service.parent / "cpu.max").write_text("100000 100000\n", encoding="ascii")
    assert available_threads(tmp_path, groups) == 1
    older = tmp_path / "cpu" / "docker" / "c0ffee"
    older.mkdir(parents=True)
    (older / "cpu.cfs_quota_us").write_text("100000", encoding="ascii")
    (older / "cpu.cfs_period_us").write_text("100000", encoding="ascii")
    groups.write_text("12:pids:/x\n4:cpu,cpuacct:/docker/c0ffee\n0::/\n", encoding="ascii")
    assert available_threads(tmp_path, groups) == 1
    for strange in ("0::/../../elsewhere\n", "nonsense\n", ""):
        groups.write_text(strange, encoding="ascii")
        assert available_threads(tmp_path, groups) == AFFINITY


def test_without_a_cgroup_the_affinity_counts(tmp_path: Path) -> None:
    assert available_threads(tmp_path / "nothing") == AFFINITY


def test_nothing_reports_home(tmp_path: Path) -> None:
    """ONNX Runtime's telemetry keeps an identifier on the disk; importing and running leaves no file."""
    (tmp_path / "model.onnx").write_bytes(summed(TABLE))
    code = (
        "from pathlib import Path\nfrom pointsman.runtime.session import Session\nSession(Path('model.onnx'))"
    )
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY" and k != "CI"}
    environment |= {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-B", "-c", code], cwd=tmp_path, env=environment, check=True)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_blocks_are_a_model_too_and_are_given_up() -> None:
    model = summed(TABLE)
    blocks = [model[:100], model[100:]]
    np.testing.assert_array_equal(Session(blocks, optimize=False).run(IDS, MASK), ANSWER)
    assert blocks == []


def test_blocks_that_are_no_model_are_an_error_and_not_a_wait() -> None:
    with pytest.raises(ArtifactError, match="does not take the model"):
        Session([bytes(range(256)) * 4096] * 3)


def test_a_session_made_of_blocks_keeps_no_copy_of_the_file() -> None:
    kept = [value for value in vars(Session([summed(TABLE)])._session).values() if isinstance(value, bytes)]
    assert kept == []


def test_a_provider_that_may_read_again_gets_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO opens a model's file by its name once more: a pipe would keep it waiting for ever."""
    given: list[object] = []

    def noted(source: object, **_: object) -> None:
        given.append(source)
        raise RuntimeError("it is not here")

    monkeypatch.setattr(ort, "InferenceSession", noted)
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CPU, "OpenVINOExecutionProvider"])
    model = summed(TABLE)
    blocks = [model[:100], model[100:]]
    with pytest.raises(ArtifactError, match="it is not here"):
        Session(blocks, SessionConfig(providers=("openvino", "cpu")))
    assert given == [model] and not blocks
