"""What a classifier is worth: ranking, decisions and probabilities, in numpy alone.

`weight` says how many queries each row stands for, above 0, float64 (rows,); None counts all alike.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CALIBRATION_BINS = 15

_Floats = NDArray[np.float64]
_Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """One bin of a reliability diagram.

    Attributes:
        low: the bin holds probabilities from here on, 0..1.
        high: up to here (the last bin includes it), 0..1.
        share: of all queries, by weight, 0..1.
        predicted: their mean probability; 0 where the bin is empty.
        observed: the share of them that came true; 0 where the bin is empty.
    """

    low: float
    high: float
    count: int
    share: float
    predicted: float
    observed: float


def accuracy(is_true: _Bools, says: _Bools, weight: _Floats | None = None) -> float:
    """Share of decisions that are right, 0..1; both bool (rows,)."""
    return float(np.average(is_true == says, weights=weight))


def f1(is_true: _Bools, says: _Bools, weight: _Floats | None = None) -> float:
    """Harmonic mean of precision and recall of the positive class, 0..1; 0 where nothing is positive."""
    hits, true, called = (np.average(rows, weights=weight) for rows in (is_true & says, is_true, says))
    return float(2.0 * hits / (true + called)) if true + called else 0.0


def roc_auc(is_true: _Bools, score: _Floats, weight: _Floats | None = None) -> float:
    """Probability that a positive outranks a negative, ties half (Mann-Whitney U); NaN for one class."""
    if is_true.all() or not is_true.any():
        return float("nan")
    values, place = np.unique(score, return_inverse=True)
    weight = np.ones(len(score)) if weight is None else weight
    positives, negatives = (
        np.bincount(place[kind], weight[kind], minlength=len(values)) for kind in (is_true, ~is_true)
    )
    under = np.cumsum(negatives) - negatives / 2.0
    return float(positives @ under / (positives.sum() * negatives.sum()))


def brier(is_true: _Bools, p: _Floats, weight: _Floats | None = None) -> float:
    """Mean squared error of probabilities, 0..1, lower is better (Brier 1950); NaN without any."""
    return float(np.average((p - is_true) ** 2, weights=weight)) if len(p) else float("nan")


def reliability(is_true: _Bools, p: _Floats, weight: _Floats | None = None) -> tuple[ReliabilityBin, ...]:
    """Bins of equal width over 0..1, as a reliability diagram shows them."""
    bins = CALIBRATION_BINS
    weight = np.ones(len(p)) if weight is None else weight
    place = np.minimum((p * bins).astype(np.int64), bins - 1)
    counts = np.bincount(place, minlength=bins)
    sums, predicted, observed = (
        np.bincount(place, weight * values, minlength=bins) for values in (1.0, p, is_true)
    )
    return tuple(
        ReliabilityBin(
            at / bins,
            (at + 1) / bins,
            int(counts[at]),
            float(sums[at] / sums.sum()) if counts[at] else 0.0,
            float(predicted[at] / sums[at]) if counts[at] else 0.0,
            float(observed[at] / sums[at]) if counts[at] else 0.0,
        )
        for at in range(bins)
    )


def calibration_error(is_true: _Bools, p: _Floats, weight: _Floats | None = None) -> float:
    """Expected calibration error, 0..1: mean gap between predicted and observed, weighted by bin.

    Of the probability of the positive class, in bins of equal width (Naeini et al. 2015; Guo et al. 2017).
    """
    return float(sum(b.share * abs(b.predicted - b.observed) for b in reliability(is_true, p, weight)))
