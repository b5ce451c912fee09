from dataclasses import replace

import pytest
from tests.bench.made_results import BULK, small_benchmark
from tools.benchmark_goals import Figure, Goal, figures, goal_table, read_goals

from pointsman.errors import DataError


def measured() -> dict[tuple[str, str], Figure]:
    found = figures(small_benchmark(), read_goals())
    return {(figure.goal.more, figure.goal.shape): figure for figure in found}


def test_every_goal_is_answered() -> None:
    assert len(figures(small_benchmark(), read_goals())) == len(read_goals()) == 16


@pytest.mark.parametrize(
    ("more", "shape", "value", "verdict"),
    [
        ("plain", "32x32", 1.4, "above the floor"),
        ("torch", "1x8", 6.0, "above the floor"),
        ("torch", "1x16", 6.0, "aim reached"),
        ("guide_quantized", "1x16", 2.2, "aim reached"),
        ("folded_products", "1x16", 0.95, "aim reached"),
        ("int8_products", "1x16", 0.8, "below the aim"),
        ("guide_loop", "bulk", 6.0, "aim reached"),
    ],
)
def test_figures_and_verdicts(more: str, shape: str, value: float, verdict: str) -> None:
    figure = measured()[more, shape]
    assert figure.measured is not None
    assert figure.measured.median == pytest.approx(value, rel=1e-3)
    assert figure.verdict == verdict


def test_a_figure_below_the_floor_says_so() -> None:
    goal = replace(read_goals()[0], floor=9.0, aim=10.0)
    assert figures(small_benchmark(), (goal,))[0].verdict == "below the floor"


def test_seconds_are_better_when_fewer() -> None:
    benchmark = small_benchmark()
    goal = Goal("t", "seconds", "router_program", None, "cold start", "all", 0.3, 0.2)
    assert figures(benchmark, (goal,))[0].verdict == "above the floor"
    assert figures(benchmark, (replace(goal, aim=0.3),))[0].verdict == "aim reached"
    assert figures(benchmark, (replace(goal, floor=0.21),))[0].verdict == "below the floor"


def test_threads_are_compared_with_one_thread_round_by_round() -> None:
    goal = next(goal for goal in read_goals() if goal.what == "cores")
    benchmark = small_benchmark()
    assert figures(benchmark, (goal,))[0].reason == "one thread and several were not both measured"
    alone = replace(BULK, threads=1)
    slow = [
        replace(run, scenario=alone.name, calls_ns=tuple(2 * ns for ns in run.calls_ns))
        for run in benchmark.series("route_many", BULK)
    ]
    both = replace(benchmark, scenarios=(alone, *benchmark.scenarios), runs=(*slow, *benchmark.runs))
    found = figures(both, (goal,))[0]
    assert found.measured is not None
    assert (found.measured.values, found.verdict) == (pytest.approx((2.0, 2.0, 2.0)), "aim reached")


def test_what_was_not_measured_has_a_reason() -> None:
    figure = measured()["convert", "conversion"]
    assert (figure.verdict, figure.reason) == ("not measured", "no such scenario in this run")
    goal = replace(read_goals()[0], more="torch_compile")
    assert figures(small_benchmark(), (goal,))[0].reason == "torch_compile: left out of this set of scenarios"


def test_the_table_sets_what_is_reached_apart() -> None:
    rows = {row.cells: row.strong for row in goal_table(figures(small_benchmark(), read_goals())).rows}
    reached = ("folded int8 against PyTorch eager", "1x16, 1 thread", "4.3x", "5x", "6.00x (6.00 to 6.00)")
    assert rows[(*reached, "aim reached")]
    assert any(cells[-1] == "not measured: no such scenario in this run" for cells in rows)


def test_a_goal_that_means_nothing_is_refused() -> None:
    with pytest.raises(DataError, match="do not fit"):
        replace(read_goals()[0], what="speed")
    with pytest.raises(DataError, match="do not fit"):
        replace(read_goals()[0], less=None)
