"""A check and what it found: every figure stands beside its target, and says whether it is a count or a time.

Counts decide on every machine. Times decide only where the machine is quiet, so they never fail a small run.
"""

import json
import operator
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

if TYPE_CHECKING:
    from tests.support.harness.bench import Bench

Sense = Literal["<=", ">=", "=="]
_HOLDS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
}


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure beside its target.

    Attributes:
        name: what was measured.
        value, unit: as measured.
        sense, target: what was promised; no target makes it a mere record.
        n: how many cases stand behind it; 0 where that means nothing.
        is_time: depends on how quiet the machine is.
    """

    name: str
    value: float
    unit: str = ""
    sense: Sense = "<="
    target: float | None = None
    n: int = 0
    is_time: bool = False

    @property
    def holds(self) -> bool:
        """Whether the promise was kept."""
        return self.target is None or _HOLDS[self.sense](self.value, self.target)

    @property
    def bound(self) -> float | None:
        """For zero counts: the 95 % upper bound of the true share, 3/n."""
        is_zero_of_n = self.n > 0 and self.value == 0 and self.target == 0
        return 3 / self.n if is_zero_of_n else None


def none(name: str, value: float, n: int) -> Measure:
    """A count that has to be zero."""
    return Measure(name, value, "", "==", 0, n)


def every(name: str, value: float, n: int) -> Measure:
    """A count that has to be all of n."""
    return Measure(name, value, f"of {n}", "==", n, n)


def at_most(name: str, value: float, target: float, unit: str = "", n: int = 0) -> Measure:
    """A figure with a ceiling that no noise excuses."""
    return Measure(name, value, unit, "<=", target, n)


def at_least(name: str, value: float, target: float, unit: str = "", n: int = 0) -> Measure:
    """A figure with a floor that no noise excuses."""
    return Measure(name, value, unit, ">=", target, n)


def within(name: str, value: float, target: float, unit: str = "ms", n: int = 0) -> Measure:
    """A time with a ceiling."""
    return Measure(name, value, unit, "<=", target, n, is_time=True)


def reaches(name: str, value: float, target: float, unit: str = "", n: int = 0) -> Measure:
    """A speed with a floor."""
    return Measure(name, value, unit, ">=", target, n, is_time=True)


def noted(name: str, value: float, unit: str = "", n: int = 0) -> Measure:
    """A figure without a target."""
    return Measure(name, value, unit, n=n)


class Tally:
    """Cases one after the other, and how many of them had each of these faults."""

    def __init__(self, *faults: str) -> None:
        self._counts = dict.fromkeys(faults, 0)
        self._n = 0

    def case(self, *found: bool) -> None:
        """Count one case; `found` says of each fault whether it had it."""
        self._n += 1
        for fault, has_it in zip(self._counts, found, strict=True):
            self._counts[fault] += bool(has_it)

    def measures(self) -> tuple[Measure, ...]:
        """That there were none, and of how many cases."""
        return tuple(none(fault, count, self._n) for fault, count in self._counts.items())


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        measures: the figures.
        seeds: of what was random.
        remark: one sentence on how it was done at this size, where that matters.
    """

    measures: tuple[Measure, ...]
    seeds: tuple[int, ...] = ()
    remark: str = ""


Run = Callable[["Bench"], Awaitable[Finding]]


@dataclass(frozen=True, slots=True)
class Check:
    """One promise and the coroutine that tries it.

    Attributes:
        id: as in docs/reliability.md, for example `A2`.
        claim: what is promised, in a user's words.
        reference: the best that another project is known to test or reach.
        tests: where the test suite proves it at a small size.
    """

    id: str
    claim: str
    run: Run
    reference: str = ""
    tests: str = ""


class Suite:
    """Checks by their id, in the order in which they were put in.

    Attributes:
        package: the package that holds them; the results name a check's function inside it.
    """

    def __init__(self, package: str) -> None:
        self.package = package
        self.checks: dict[str, Check] = {}

    def check(self, id: str, claim: str, *, reference: str = "", tests: str = "") -> Callable[[Run], Run]:
        """Put a coroutine into the suite."""

        def put(run: Run) -> Run:
            assert id not in self.checks
            self.checks[id] = Check(id, claim, run, reference, tests)
            return run

        return put

    def chosen(self, only: str) -> list[Check]:
        """The checks whose id or part is in a list like `A,B3`; all without a word.

        Raises:
            SystemExit: none has that id.
        """
        words = [word.strip() for word in only.split(",") if word.strip()]
        checks = self.checks.values()
        found = [c for c in checks if not words or c.id in words or c.id.rstrip("0123456789") in words]
        if not found:
            raise SystemExit(f"--only {only}: known are {', '.join(self.checks)}")
        return found


@dataclass(frozen=True, slots=True)
class Entry:
    """What one check found, or why it did not run to its end; its claim stands in the suite."""

    id: str
    took_s: float
    measures: tuple[Measure, ...] = ()
    seeds: tuple[int, ...] = ()
    remark: str = ""
    error: str = ""

    @property
    def was_run(self) -> bool:
        """Whether there is anything to judge."""
        return bool(self.error or self.measures)

    @property
    def counts_hold(self) -> bool:
        """Whether it ran, and every promise that no noise excuses was kept."""
        return not self.error and all(m.holds for m in self.measures if not m.is_time)

    @property
    def holds(self) -> bool:
        """Whether every promise was kept."""
        return not self.error and all(m.holds for m in self.measures)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote."""
        measures = tuple(Measure(**measure) for measure in data["measures"])
        return cls(**{**data, "measures": measures, "seeds": tuple(data["seeds"])})


@dataclass(slots=True)
class Results:
    """One run of the harness."""

    size: str
    started: str
    took_s: float
    environment: dict[str, Any]
    pinned: bool
    entries: list[Entry] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {**asdict(self), "entries": [entry.to_dict() for entry in self.entries]}

    @classmethod
    def read(cls, path: Path) -> Self:
        """The recorded results."""
        return cls.from_dict(json.loads(path.read_text(encoding="utf-8")))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote."""
        return cls(**{**data, "entries": [Entry.from_dict(entry) for entry in data["entries"]]})
