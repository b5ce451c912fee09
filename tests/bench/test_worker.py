import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pointsman.bench.worker import LatencyJob, Subject, measure_bulk, measure_latency, read_texts


class Recorder(Subject):
    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self.ids: list[Any] = []
        self.passes: list[int] = []

    def run(self, input_ids: Any, attention_mask: Any) -> object:
        assert input_ids.dtype == attention_mask.dtype == np.int64
        assert attention_mask.all()
        self.shapes.append(input_ids.shape)
        self.ids.append(input_ids)
        return None

    def bulk(self, texts: list[str]) -> object:
        self.passes.append(len(texts))
        return None


def job(**changes: Any) -> LatencyJob:
    usual = {"batch": 2, "lengths": (8,), "vocab_size": 50, "warmups": 2, "min_calls": 5, "max_calls": 40}
    return LatencyJob(**{**usual, "min_time_s": 0.0, **changes})


def test_warmups_stand_apart() -> None:
    subject = Recorder()
    timings = measure_latency(subject, job())
    assert (len(timings.warmups_ns), len(timings.calls_ns)) == (2, 5)
    assert len(subject.shapes) == 7
    assert all(timing > 0 for timing in timings.warmups_ns + timings.calls_ns)


def test_batches_side_by_side_share_the_time_of_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    subject, clock = Recorder(), iter(range(0, 10**6, 400))
    monkeypatch.setattr(time, "perf_counter_ns", lambda: next(clock))
    timings = measure_latency(subject, job(side_by_side=4, warmups=1, min_calls=1))
    assert (timings.warmups_ns, timings.calls_ns) == ([100], [100])
    assert len(subject.shapes) == 8


def test_a_mix_is_measured_in_whole_turns() -> None:
    subject = Recorder()
    timings = measure_latency(subject, job(lengths=(4, 9, 6), min_calls=4))
    assert len(timings.calls_ns) == 6
    assert subject.shapes[-3:] == [(2, 4), (2, 9), (2, 6)]


def test_time_alone_does_not_go_on_for_ever() -> None:
    timings = measure_latency(Recorder(), job(max_calls=7, min_time_s=1e9))
    assert len(timings.calls_ns) == 7


def test_the_same_job_gives_everybody_the_same_tokens() -> None:
    one, other = Recorder(), Recorder()
    measure_latency(one, job())
    measure_latency(other, job())
    np.testing.assert_array_equal(one.ids[0], other.ids[0])
    assert one.ids[0].min() >= 1
    assert one.ids[0].max() < 50


@pytest.mark.parametrize(("warmups", "passes"), [(2, [2, 5]), (0, [5])])
def test_texts_are_passed_whole(warmups: int, passes: list[int]) -> None:
    subject = Recorder()
    timings = measure_bulk(subject, ["a"] * 5, warmups)
    assert subject.passes == passes
    assert len(timings.calls_ns) == 1


def test_texts_are_the_queries_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "queries.jsonl"
    path.write_text('{"query": "héllo"}\n\n{"query": "two", "kind": "x"}\n', encoding="utf-8")
    assert read_texts(path) == ["héllo", "two"]
