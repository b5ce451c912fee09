"""Figures that the project set itself, against what was measured. What to reach is data, not prose."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pointsman.bench.report.tables import NONE, Row, Table, ratio_in_words
from pointsman.bench.results import Benchmark, Kind, Scenario
from pointsman.bench.scenarios import ALL
from pointsman.bench.statistics import Ratio
from pointsman.errors import DataError, InputError

GOALS = Path(__file__).with_suffix(".json")

BULK = "bulk"
WIDE = 0.25
"""Rounds further apart than this share of their median are a wide spread."""


@dataclass(frozen=True, slots=True)
class Goal:
    """One figure to reach.

    Attributes:
        title: what it says.
        what: `time` or `memory` (how many times more), `cores` (how many times longer on one thread), or
            `seconds` (how long).
        more: the backend whose figure stands above.
        less: the backend it is divided by; None where `what` is seconds.
        shape: the scenario's shape, or `bulk` for whatever number of texts.
        threads: its threads, or `all`.
        floor: what a first prototype reached; None where it was not measured.
        aim: what to reach.
    """

    title: str
    what: str
    more: str
    less: str | None
    shape: str
    threads: int | str
    floor: float | None
    aim: float

    def __post_init__(self) -> None:
        known = self.what in ("time", "memory", "cores", "seconds")
        if not known or (self.less is None) != (self.what == "seconds"):
            raise DataError(f"goal {self.title!r}: `what` and `less` do not fit.")

    @property
    def unit(self) -> str:
        """What stands behind its number: ` s` for seconds, nothing for a share, `x` for how many times."""
        if self.what == "seconds":
            return " s"
        return "" if self.aim <= 1.0 else "x"

    def matches(self, scenario: Scenario, available: int) -> bool:
        """Whether this is the scenario to look at, where `available` is what all threads mean."""
        threads = available if self.threads == ALL else self.threads
        shape = BULK if scenario.kind is Kind.BULK else scenario.shape
        return (shape, scenario.threads) == (self.shape, threads)


@dataclass(frozen=True, slots=True)
class Figure:
    """A goal and what was measured; `measured` is None, with the reason, where nothing was.

    A measured value is a ratio, or seconds, once per round.
    """

    goal: Goal
    measured: Ratio | None
    scenario: str
    reason: str = ""

    @property
    def is_wide(self) -> bool:
        """Whether rounds lie so far apart that the median says little."""
        found = self.measured
        return found is not None and found.high - found.low > WIDE * found.median

    @property
    def verdict(self) -> str:
        """`aim reached`, `above the floor`, `below the floor`, `below the aim` or `not measured`."""
        if self.measured is None:
            return "not measured"
        sign = -1 if self.goal.what == "seconds" else 1
        value = sign * self.measured.median
        if value >= sign * self.goal.aim:
            return "aim reached"
        if self.goal.floor is None:
            return "below the aim"
        return "above the floor" if value >= sign * self.goal.floor else "below the floor"


def read_goals() -> tuple[Goal, ...]:
    """The figures to reach."""
    return tuple(Goal(**item) for item in json.loads(GOALS.read_text(encoding="utf-8"))["goals"])


def figures(benchmark: Benchmark, goals: tuple[Goal, ...]) -> tuple[Figure, ...]:
    """Every goal with what the benchmark says about it."""
    available = int(benchmark.facts.get("available_threads", benchmark.environment.usable))
    return tuple(_figure(benchmark, goal, available) for goal in goals)


def _figure(benchmark: Benchmark, goal: Goal, available: int) -> Figure:
    scenario = next((one for one in benchmark.scenarios if goal.matches(one, available)), None)
    if scenario is None:
        return Figure(goal, None, "", "no such scenario in this run")
    measured = _measured(benchmark, goal, scenario)
    if measured is not None:
        return Figure(goal, measured, scenario.name)
    skipped: dict[str, Any] = {backend.name: backend.skipped for backend in benchmark.backends}
    names = [name for name in (goal.more, goal.less) if name is not None]
    reasons = [
        f"{name}: {skipped.get(name) or 'not in this run'}"
        for name in names
        if not benchmark.series(name, scenario)
    ] or ["one thread and several were not both measured"]
    return Figure(goal, None, scenario.name, "; ".join(reasons))


def _measured(benchmark: Benchmark, goal: Goal, scenario: Scenario) -> Ratio | None:
    if goal.less is None:
        runs = benchmark.series(goal.more, scenario)
        try:
            return Ratio(tuple(sum(run.calls_ns) / len(run.calls_ns) / 1e9 for run in runs))
        except InputError:
            return None
    if goal.what == "memory":
        return benchmark.memory_ratio(goal.more, goal.less, scenario)
    if goal.what != "cores":
        return benchmark.time_ratio(goal.more, goal.less, scenario)
    one = next((s for s in benchmark.scenarios if (s.shape, s.threads) == (scenario.shape, 1)), scenario)
    return None if one == scenario else benchmark.time_ratio(goal.more, goal.less, scenario, one)


def goal_table(figures: Iterable[Figure]) -> Table:
    """Figures to reach against figures measured."""
    rows = []
    for figure in figures:
        goal = figure.goal
        at_least = "at most " if goal.what == "seconds" else ""
        floor = NONE if goal.floor is None else f"{at_least}{goal.floor:g}{goal.unit}"
        measured = ratio_in_words(figure.measured, goal.unit) if figure.measured else NONE
        verdict = figure.verdict + (f": {figure.reason}" if figure.reason else "")
        verdict += ", wide spread" if figure.is_wide else ""
        aim = f"{at_least}{goal.aim:g}{goal.unit}"
        cells = (goal.title, figure.scenario or goal.shape, floor, aim, measured, verdict)
        rows.append(Row(cells, figure.verdict == "aim reached"))
    headers = ("figure", "scenario", "floor", "aim", "measured: median (lowest to highest round)", "verdict")
    return Table("Figures to reach", headers, tuple(rows))
