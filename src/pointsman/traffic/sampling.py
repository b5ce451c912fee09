"""Which queries of a log teach most for a number of answers: spread out, denser where the router doubts.

Each query gets a probability of being chosen, and its weight is the number of rows that it stands for over
that probability (Horvitz and Thompson 1952): weighted figures of the sample are, on average, figures of the
log. The draw is the local pivotal method (Grafström, Lundström and Schelin 2012, "Spatially Balanced Sampling
through the Pivotal Method"): near neighbours decide between them which one is taken, so the sample is spread
over the space while every probability stays as it was set.
"""

import numpy as np
from numpy.typing import NDArray

_DOUBT = 2.0
"""A query at the threshold is chosen 1 + this many times as often as one far from it."""
_WIDTH = 0.15
_SETTLED = 1e-9

_Floats = NDArray[np.float64]


def inclusion(p_cloud: _Floats, threshold: float, occurrences: _Floats, size: int) -> _Floats:
    """The probability of each query to be chosen, float64 (queries,), of sum `size`.

    It grows with the root of the occurrences, and towards the threshold.

    Args:
        p_cloud: of each query under today's router, 0..1, float64 (queries,).
        threshold: today's cloud threshold, 0..1.
        occurrences: rows of the log that each query stands for, float64 (queries,).
        size: queries to choose, at most as many as there are.
    """
    wish = np.sqrt(occurrences) * (1.0 + _DOUBT * np.exp(-(((p_cloud - threshold) / _WIDTH) ** 2)))
    chosen = np.zeros(len(wish), np.bool_)
    while True:
        left = size - chosen.sum()
        share = np.where(chosen, 1.0, left * wish / max(wish[~chosen].sum(), _SETTLED))
        if not (share[~chosen] > 1.0).any():
            return np.minimum(share, 1.0)
        chosen |= share > 1.0


def spread_sample(space: NDArray[np.float32], probability: _Floats, seed: int) -> NDArray[np.int64]:
    """Draw queries that are spread over a space; returns their indices, sorted.

    Args:
        space: place of each query, float32 (queries, dimensions).
        probability: of each to be chosen, float64 (queries,); their sum is the size of the sample.
        seed: of the draw.
    """
    rng = np.random.default_rng(seed)
    p = probability.copy()
    norms = (space**2).sum(axis=1)
    open_ = (p > _SETTLED) & (p < 1.0 - _SETTLED)
    for first in rng.permutation(len(p)):
        while open_[first]:
            distance = norms - 2.0 * (space @ space[first])
            distance[~open_] = np.inf
            distance[first] = np.inf
            second = int(np.argmin(distance))
            if not np.isfinite(distance[second]):
                # The last one has no neighbour to decide with; its probability decides.
                p[first] = float(rng.random() < p[first])
                open_[first] = False
                break
            p[first], p[second] = _decided(float(p[first]), float(p[second]), float(rng.random()))
            for one in (first, second):
                open_[one] = _SETTLED < p[one] < 1.0 - _SETTLED
    return np.flatnonzero(p > 0.5)


def _decided(first: float, second: float, coin: float) -> tuple[float, float]:
    """One step of the pivotal method: one of two gives the other all it can; expectations stay."""
    both = first + second
    if both < 1.0:
        return (0.0, both) if coin < second / both else (both, 0.0)
    return (1.0, both - 1.0) if coin < (1.0 - second) / (2.0 - both) else (both - 1.0, 1.0)
