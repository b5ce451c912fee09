import json
from dataclasses import replace

import pytest
from tests.bench.made_results import BATCH, BULK, COLD, MIX, SHORT, USUAL, small_benchmark

from pointsman.bench.results import Benchmark, Kind, Run, Scenario
from pointsman.errors import DataError


def test_json_round_trip() -> None:
    benchmark = small_benchmark()
    again = Benchmark.from_json(benchmark.to_json())
    assert again.runs == benchmark.runs
    assert again.scenarios == benchmark.scenarios
    assert again.to_json() == benchmark.to_json()


def test_only_raw_timings_are_stored() -> None:
    text = small_benchmark().to_json()
    assert "calls_ns" in text
    assert "p50" not in text.replace("tokens_p50", "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"schema": 99}',
        '{"schema": 1}',
        small_benchmark().to_json().replace('"kind": "bulk"', '"kind": "guess"'),
        small_benchmark().to_json().replace('"backend": "plain"', '"backend": "unknown"'),
        small_benchmark().to_json().replace('"schema": 1', '"schema": 1, "extra": 2'),
        "[" * 100_000,
    ],
)
def test_what_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(DataError, match=r"benchmark|scenario"):
        Benchmark.from_json(text)


def test_names_say_shape_and_threads() -> None:
    rate = Scenario(Kind.RATE, 2, 1, (16,))
    names = [scenario.name for scenario in (SHORT, MIX, BATCH, BULK, COLD, rate)]
    assert names == [
        "1x8, 1 thread", "1xmix, 1 thread", "32x32, 2 threads", "300 texts, 2 threads",
        "cold start, 2 threads", "1x16 side by side, 2 threads",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "threads", "batch", "lengths"),
    [
        (Kind.LATENCY, 0, 1, (8,)),
        (Kind.LATENCY, 1, 0, (8,)),
        (Kind.LATENCY, 1, 1, ()),
        (Kind.LATENCY, 1, 1, (1,)),
        (Kind.RATE, 1, 1, ()),
        (Kind.BULK, 1, 1, (8,)),
    ],
)
def test_scenarios_that_mean_nothing_are_refused(
    kind: Kind, threads: int, batch: int, lengths: tuple[int, ...]
) -> None:
    with pytest.raises(DataError, match="scenario"):
        Scenario(kind, threads, batch, lengths)


@pytest.mark.parametrize("calls", [(), (0,), (5, -1)])
def test_a_run_has_timings(calls: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="timings"):
        Run("plain", SHORT.name, 0, (), calls, 0)


def test_a_scenario_stands_once() -> None:
    with pytest.raises(DataError, match="twice"):
        replace(small_benchmark(), scenarios=(SHORT, SHORT))


def test_summaries_leave_out_the_warmups() -> None:
    summary = small_benchmark().summary("plain", USUAL)
    assert summary is not None
    assert summary.n == 18
    assert summary.high == pytest.approx(14e6 * 1.02)


def test_ratios_pair_the_rounds() -> None:
    found = small_benchmark().time_ratio("plain", "folded", USUAL)
    assert found is not None
    assert found.values == pytest.approx((1.4, 1.4, 1.4))
    assert found.is_change


def test_only_rounds_that_both_have_are_compared() -> None:
    benchmark = small_benchmark()
    runs = tuple(run for run in benchmark.runs if not (run.backend == "folded" and run.round == 1))
    found = replace(benchmark, runs=runs).time_ratio("plain", "folded", USUAL)
    assert found is not None
    assert len(found.values) == 2


def test_a_mix_is_compared_by_its_mean() -> None:
    benchmark = small_benchmark()
    skewed = tuple(
        replace(run, calls_ns=(*run.calls_ns[:-1], run.calls_ns[-1] * 7))
        if (run.backend, run.scenario) == ("plain", MIX.name)
        else run
        for run in benchmark.runs
    )
    found = replace(benchmark, runs=skewed).time_ratio("plain", "folded", MIX)
    assert found is not None
    assert found.median == pytest.approx(2 * 1.4)


def test_memory_and_throughput() -> None:
    benchmark = small_benchmark()
    memory = benchmark.memory_ratio("torch_program", "router_program", COLD)
    assert memory is not None
    assert memory.median == 5.0
    assert benchmark.throughput("route_many", BULK) == pytest.approx(300 / 1.01)
    assert benchmark.peak_rss_bytes("router_program") == 100 << 20


def test_what_was_not_measured_is_none() -> None:
    benchmark = small_benchmark()
    assert benchmark.summary("torch_compile", USUAL) is None
    assert benchmark.time_ratio("torch_compile", "int8", USUAL) is None
    assert benchmark.memory_ratio("torch", "int8", COLD) is None
    assert benchmark.throughput("openvino", USUAL) is None
    assert benchmark.doubts("torch_compile", USUAL) == ""
    assert benchmark.peak_rss_bytes("torch_compile") == 0


def test_memory_that_is_not_known_is_not_compared() -> None:
    benchmark = small_benchmark()
    unknown = tuple(replace(run, peak_rss_bytes=0) for run in benchmark.runs)
    assert replace(benchmark, runs=unknown).memory_ratio("torch_program", "router_program", COLD) is None


def test_the_file_is_plain_json() -> None:
    assert json.loads(small_benchmark().to_json())["schema"] == 1
