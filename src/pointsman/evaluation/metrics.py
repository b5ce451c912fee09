"""What a classifier is worth: ranking, decisions and probabilities, in numpy alone."""

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
        predicted: their mean probability; 0 where the bin is empty.
        observed: the share of them that came true; 0 where the bin is empty.
    """

    low: float
    high: float
    count: int
    predicted: float
    observed: float


def accuracy(is_true: _Bools, says: _Bools) -> float:
    """Share of decisions that are right, 0..1; both bool (rows,)."""
    return float(np.mean(is_true == says))


def f1(is_true: _Bools, says: _Bools) -> float:
    """Harmonic mean of precision and recall of the positive class, 0..1; 0 where nothing is positive."""
    hits = int(np.sum(is_true & says))
    called = int(np.sum(is_true)) + int(np.sum(says))
    return 2.0 * hits / called if called else 0.0


def roc_auc(is_true: _Bools, score: _Floats) -> float:
    """Probability that a positive outranks a negative, ties half (Mann-Whitney U); NaN for one class."""
    positives = int(np.sum(is_true))
    negatives = len(is_true) - positives
    if not positives or not negatives:
        return float("nan")
    _, place, counts = np.unique(score, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks = ((ends - counts + 1 + ends) / 2.0)[place]
    return float((ranks[is_true].sum() - positives * (positives + 1) / 2.0) / (positives * negatives))


def brier(is_true: _Bools, p: _Floats) -> float:
    """Mean squared error of probabilities, 0..1, lower is better (Brier 1950)."""
    return float(np.mean((p - is_true) ** 2))


def reliability(is_true: _Bools, p: _Floats) -> tuple[ReliabilityBin, ...]:
    """Bins of equal width over 0..1, as a reliability diagram shows them."""
    bins = CALIBRATION_BINS
    place = np.minimum((p * bins).astype(np.int64), bins - 1)
    made = []
    for index in range(bins):
        inside = place == index
        count = int(inside.sum())
        predicted = float(p[inside].mean()) if count else 0.0
        observed = float(is_true[inside].mean()) if count else 0.0
        made.append(ReliabilityBin(index / bins, (index + 1) / bins, count, predicted, observed))
    return tuple(made)


def calibration_error(is_true: _Bools, p: _Floats) -> float:
    """Expected calibration error, 0..1: mean gap between predicted and observed, weighted by bin.

    Of the probability of the positive class, in bins of equal width (Naeini et al. 2015; Guo et al. 2017).
    """
    gaps = [b.count * abs(b.predicted - b.observed) for b in reliability(is_true, p)]
    return float(sum(gaps) / len(p))
