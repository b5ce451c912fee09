import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pointsman.bench.results import Kind, Scenario
from pointsman.bench.runner import (
    SIDE_BY_SIDE,
    SLICES,
    Effort,
    Inputs,
    Program,
    Worker,
    measure_programs,
    measure_workers,
)
from pointsman.bench.worker_process import (
    WorkerError,
    WorkerProcess,
    child_environment,
    run_whole_process,
)
from pointsman.errors import DataError

FAKE = "tests.bench.fake_worker"
EFFORT = Effort(
    processes=2,
    rounds=3,
    whole_rounds=2,
    whole_warmups=1,
    warmups=1,
    min_calls=2,
    max_calls=4,
    min_time_s=0.0,
    timeout_s=60,
)
SHORT = Scenario(Kind.LATENCY, 1, 1, (8,))
LONG = Scenario(Kind.LATENCY, 1, 1, (16,))
BULK = Scenario(Kind.BULK, 1, 2)
COLD = Scenario(Kind.COLD_START, 1)


@pytest.fixture(autouse=True)
def workers_find_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    path = tmp_path / "queries.jsonl"
    path.write_text('{"query": "one"}\n{"query": "two"}\n')
    return Inputs(50, path)


def fake(name: str, mode: str = "", **changes: Any) -> Worker:
    return Worker(name, FAKE, {"mode": mode}, **changes)


def test_rounds_alternate_and_every_start_counts(inputs: Inputs) -> None:
    said: list[str] = []
    measured = measure_workers([fake("a"), fake("b")], [SHORT], inputs, EFFORT, said.append)
    assert [(run.backend, run.round) for run in measured.runs] == [
        ("a", 0), ("b", 0), ("b", 1), ("a", 1), ("a", 2), ("b", 2),
        ("a", 3), ("b", 3), ("b", 4), ("a", 4), ("a", 5), ("b", 5),
    ]  # fmt: skip
    # Two calls, at least, in slices of one at least.
    assert all(len(run.calls_ns) == len(run.warmups_ns) == SLICES for run in measured.runs)
    assert measured.failures == {}
    assert any("start 2 of 2" in line for line in said)


def test_backends_take_turns_within_a_round(inputs: Inputs, tmp_path: Path) -> None:
    effort = replace(EFFORT, processes=1, rounds=1)
    log = tmp_path / "log"
    workers = [Worker(name, FAKE, {"mode": "", "log": str(log), "name": name}) for name in "ab"]
    measure_workers(workers, [SHORT], inputs, effort, lambda line: None)
    warm_and_counted = 2
    assert (
        log.read_text(encoding="utf-8").split()
        == (["a"] * warm_and_counted + ["b"] * warm_and_counted) * SLICES
    )


def test_a_backend_that_fails_leaves_the_others_be(inputs: Inputs) -> None:
    effort = replace(EFFORT, processes=1, rounds=1)
    workers = [fake("good", "noisy"), fake("unopened", "does not open"), fake("dies", "dies at 16")]
    measured = measure_workers(workers, [SHORT, LONG], inputs, effort, lambda line: None)
    assert measured.failures["unopened"] == "ValueError: cannot open this"
    assert measured.failures["dies"] == "1x16, 1 thread: ValueError: sixteen is too much"
    assert [(run.backend, run.scenario) for run in measured.runs] == [
        ("good", SHORT.name), ("dies", SHORT.name), ("good", LONG.name),
    ]  # fmt: skip


def test_a_rate_is_a_batch_among_others_side_by_side(inputs: Inputs, tmp_path: Path) -> None:
    log, effort = tmp_path / "calls", replace(EFFORT, processes=1, rounds=1)
    worker = Worker("rate", FAKE, {"name": "run", "log": str(log)})
    measured = measure_workers([worker], [Scenario(Kind.RATE, 2, 1, (8,))], inputs, effort, lambda line: None)
    (run,) = measured.runs
    batches = len(log.read_text().splitlines())
    assert batches == (len(run.warmups_ns) + len(run.calls_ns)) * 2 * SIDE_BY_SIDE


def test_a_backend_takes_its_own_scenarios(inputs: Inputs) -> None:
    effort = replace(EFFORT, processes=1, rounds=1, whole_rounds=1)
    workers = [
        fake("texts", kinds=frozenset({Kind.BULK})),
        fake("long", scenarios=frozenset({LONG.name})),
    ]
    measured = measure_workers(workers, [SHORT, LONG, BULK, COLD], inputs, effort, lambda line: None)
    assert [(run.backend, run.scenario) for run in measured.runs] == [
        ("long", LONG.name),
        ("texts", BULK.name),
    ]


def test_whole_processes_alternate_with_their_memory() -> None:
    code = "import json, sys; print('noise'); print(json.dumps({'peak_rss_bytes': int(sys.argv[1])}))"
    programs = [
        Program("a", Kind.COLD_START, code, ("7",)),
        Program("b", Kind.COLD_START, code, ("9",)),
        Program("broken", Kind.COLD_START, "raise SystemExit('no luck')", ()),
        Program("other", Kind.CONVERSION, code, ("1",)),
    ]
    measured = measure_programs(programs, [SHORT, COLD], EFFORT, lambda line: None)
    found = [(run.backend, run.round, run.peak_rss_bytes, len(run.warmups_ns)) for run in measured.runs]
    assert found == [("a", 0, 7, 1), ("b", 0, 9, 1), ("a", 1, 7, 0), ("b", 1, 9, 0)]
    assert measured.failures == {"broken": "no luck"}


def test_a_worker_that_hangs_is_ended() -> None:
    job = {
        "kind": "latency", "batch": 1, "lengths": [8], "vocab_size": 9,
        "warmups": 0, "min_calls": 1, "max_calls": 1, "min_time_s": 0,
    }  # fmt: skip
    with WorkerProcess(FAKE, {"mode": "slow"}, 1, timeout_s=60) as worker:
        worker._timeout_s = 0.5  # it is open now, which may take a busy machine longer
        with pytest.raises(WorkerError, match=r"no answer within 0\.5 s"):
            worker.ask(job)


@pytest.mark.parametrize(
    ("code", "words", "timeout_s"),
    [
        ("import time; time.sleep(600)", "not done within", 0.5),
        ("print('no json')", "exit code 0", 60),
        ("print('[1]')", "exit code 0", 60),
        ("raise ValueError('why')", "ValueError: why", 60),
    ],
)
def test_a_process_that_does_not_answer_is_an_error(code: str, words: str, timeout_s: float) -> None:
    with pytest.raises(WorkerError, match=words):
        run_whole_process(code, (), 1, timeout_s=timeout_s)


def test_children_have_the_same_threads_and_no_network() -> None:
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    found = run_whole_process(code, (), 3, timeout_s=60).answer
    assert found["OMP_NUM_THREADS"] == found["POINTSMAN_THREADS"] == "3"
    assert found["HF_HUB_OFFLINE"] == "1"


def test_children_find_this_package_without_an_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPATH")
    assert Path(child_environment(1)["PYTHONPATH"], "pointsman", "__init__.py").is_file()


@pytest.mark.parametrize("change", [{"rounds": 0}, {"min_time_s": -1.0}, {"timeout_s": 0.0}, {"warmups": -1}])
def test_efforts_that_mean_nothing_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(DataError, match="effort"):
        replace(EFFORT, **change)  # type: ignore[arg-type]


def test_settings_are_plain_values() -> None:
    assert json.loads(json.dumps(dict(fake("a").settings))) == {"mode": ""}
