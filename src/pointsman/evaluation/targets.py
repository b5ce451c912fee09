"""Figures that the project set itself, against what was measured. What to reach is data, not prose."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pointsman.errors import DataError, InputError
from pointsman.evaluation.benchmark import Benchmark, Kind, Scenario
from pointsman.evaluation.scenarios import ALL, read_json
from pointsman.evaluation.statistics import Ratio

BULK = "bulk"
WIDE = 0.25
"""Rounds further apart than this share of their median are a wide spread."""


@dataclass(frozen=True, slots=True)
class Target:
    """One figure to reach.

    Attributes:
        title: what it says.
        what: `time` or `memory` (how many times more), or `seconds` (how long).
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
        if self.what not in ("time", "memory", "seconds") or (self.less is None) != (self.what == "seconds"):
            raise DataError(f"target {self.title!r}: `what` and `less` do not fit.")

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
    """A target and what was measured; `measured` is None, with the reason, where nothing was.

    A measured value is a ratio, or seconds, once per round.
    """

    target: Target
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
        sign = -1 if self.target.what == "seconds" else 1
        value = sign * self.measured.median
        if value >= sign * self.target.aim:
            return "aim reached"
        if self.target.floor is None:
            return "below the aim"
        return "above the floor" if value >= sign * self.target.floor else "below the floor"


def read_targets(path: Path | None = None) -> tuple[Target, ...]:
    """Read the figures to reach; None reads the ones that come with the package.

    Raises:
        DataError: not readable or not understood.
    """
    try:
        return tuple(Target(**item) for item in read_json(path, "targets.json")["targets"])
    except (KeyError, TypeError) as error:
        raise DataError(f"targets: not understood: {error}.") from None


def figures(benchmark: Benchmark, targets: tuple[Target, ...]) -> tuple[Figure, ...]:
    """Every target with what the benchmark says about it."""
    available = int(benchmark.facts.get("available_threads", benchmark.environment.usable))
    return tuple(_figure(benchmark, target, available) for target in targets)


def _figure(benchmark: Benchmark, target: Target, available: int) -> Figure:
    scenario = next((one for one in benchmark.scenarios if target.matches(one, available)), None)
    if scenario is None:
        return Figure(target, None, "", "no such scenario in this run")
    measured = _measured(benchmark, target, scenario)
    if measured is not None:
        return Figure(target, measured, scenario.name)
    skipped: dict[str, Any] = {backend.name: backend.skipped for backend in benchmark.backends}
    names = [name for name in (target.more, target.less) if name is not None]
    reasons = [
        f"{name}: {skipped.get(name) or 'not in this run'}"
        for name in names
        if not benchmark.series(name, scenario)
    ]
    return Figure(target, None, scenario.name, "; ".join(reasons))


def _measured(benchmark: Benchmark, target: Target, scenario: Scenario) -> Ratio | None:
    if target.less is None:
        runs = benchmark.series(target.more, scenario)
        try:
            return Ratio(tuple(sum(run.calls_ns) / len(run.calls_ns) / 1e9 for run in runs))
        except InputError:
            return None
    if target.what == "memory":
        return benchmark.memory_ratio(target.more, target.less, scenario)
    return benchmark.time_ratio(target.more, target.less, scenario)
