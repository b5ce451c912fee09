"""Percentile bootstrap: how far a figure could be off because the test set is only so large."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure and its 95 % interval.

    Attributes:
        value: on all rows.
        low: 2.5 % of the resamples lie under it.
        high: 2.5 % lie over it.
    """

    value: float
    low: float
    high: float


def interval(
    figure: Callable[[Rows], float], rows: int, *, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """The figure on all rows, with the interval of it on resampled rows (Efron 1979, percentile method).

    Args:
        figure: from row indices, with repeats, int64 (rows,), to a number; NaN where it is not defined, and
            such resamples are left out.
        rows: how many there are, at least 1.
        resamples: how many times to draw.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    drawn = np.array([figure(rng.integers(0, rows, rows)) for _ in range(resamples)])
    defined = drawn[np.isfinite(drawn)]
    value = figure(np.arange(rows))
    if not len(defined):
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(defined, (0.025, 0.975))
    return Interval(value, float(low), float(high))
