"""Percentile bootstrap: how far a figure could be off because the test set is only so large."""

from collections.abc import Callable, Mapping
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


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """The percentile method of Efron (1979).

    Attributes:
        seed: of the draws; the same seed draws the same rows, so differences of figures are paired.
    """

    resamples: int = RESAMPLES
    seed: int = 0

    def intervals(self, figures: Callable[[Rows], Mapping[str, float]], rows: int) -> dict[str, Interval]:
        """Figures on all rows, with the interval of each on resampled rows.

        Args:
            figures: from row indices, with repeats, int64 (rows,), to numbers by name; NaN where one is not
                defined, and such resamples are left out of its interval.
            rows: how many there are, at least 1.
        """
        rng = np.random.default_rng(self.seed)
        drawn = [figures(rng.integers(0, rows, rows)) for _ in range(self.resamples)]
        made = {}
        for name, value in figures(np.arange(rows)).items():
            sample = np.array([draw[name] for draw in drawn])
            defined = sample[np.isfinite(sample)]
            low, high = np.quantile(defined, (0.025, 0.975)) if len(defined) else (np.nan, np.nan)
            made[name] = Interval(value, float(low), float(high))
        return made

    def interval(self, figure: Callable[[Rows], float], rows: int) -> Interval:
        """One figure with its interval; see `intervals`."""
        return self.intervals(lambda drawn: {"figure": figure(drawn)}, rows)["figure"]
