"""Timings to figures: percentiles, ratios with their spread, and when to doubt them. No clock, no model."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from pointsman.errors import InputError

WIDE_ROUNDS = 0.10
"""Medians of rounds further apart than this share of their median are unstable."""
WIDE_TAIL = 1.5
"""A p95 of more than this times p50 is unstable, where every call does the same work."""
FEW_CALLS = 3


@dataclass(frozen=True, slots=True)
class Summary:
    """Figures of one series of timings, in nanoseconds."""

    n: int
    p50: float
    p95: float
    p99: float
    mean: float
    low: float
    high: float


def summarize(timings_ns: Sequence[int]) -> Summary:
    """Summarize timings.

    Raises:
        InputError: there are none.
    """
    if not timings_ns:
        raise InputError("summarize: expected at least one timing, found none.")
    values = np.asarray(timings_ns, dtype=np.float64)
    p50, p95, p99 = (float(value) for value in np.percentile(values, (50, 95, 99)))
    low, high = float(values.min()), float(values.max())
    # A mean of equal values may be rounded past them.
    mean = min(max(float(values.mean()), low), high)
    return Summary(len(timings_ns), p50, p95, p99, mean, low, high)


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times one thing is the other, once per round.

    Attributes:
        values: one ratio a round, each above 0.
    """

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.values or not all(value > 0 for value in self.values):
            raise InputError(f"ratio: expected at least one number above 0, found {list(self.values)}.")

    @property
    def median(self) -> float:
        """The middle round's ratio: the figure to quote."""
        return float(median(self.values))

    @property
    def low(self) -> float:
        """The lowest round's ratio."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The highest round's ratio."""
        return max(self.values)

    @property
    def is_change(self) -> bool:
        """Whether every round agrees on which of the two is more; otherwise the word is "no change"."""
        return self.low > 1.0 or self.high < 1.0


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Ratio:
    """Pair rounds and divide them.

    Args:
        numerators: one figure a round, above 0.
        denominators: one figure of the same rounds, above 0.

    Raises:
        InputError: different numbers of rounds, none, or a figure that is not above 0.
    """
    if len(numerators) != len(denominators):
        raise InputError(f"ratio: {len(numerators)} rounds against {len(denominators)}.")
    if not all(value > 0 for value in denominators):
        raise InputError("ratio: expected figures above 0.")
    return Ratio(tuple(a / b for a, b in zip(numerators, denominators, strict=True)))


def doubts(rounds_ns: Sequence[Sequence[int]], *, same_work: bool) -> str:
    """Why not to trust a series, in words; empty where there is no reason.

    Args:
        rounds_ns: the timings of every round, in nanoseconds, none empty.
        same_work: every call does the same, so a long tail is noise and not the work's own.

    Raises:
        InputError: no rounds, or an empty one.
    """
    medians = [summarize(timings).p50 for timings in rounds_ns]
    calls = [timing for timings in rounds_ns for timing in timings]
    whole = summarize(calls)
    found = []
    if len(calls) < FEW_CALLS:
        found.append(f"only {len(calls)} calls")
    spread = (max(medians) - min(medians)) / median(medians)
    if spread > WIDE_ROUNDS:
        found.append(f"medians of rounds are {spread:.0%} apart")
    if same_work and whole.p95 > WIDE_TAIL * whole.p50:
        found.append(f"p95 is {whole.p95 / whole.p50:.1f} times p50")
    return f"unstable: {', '.join(found)}" if found else ""
