"""How far recent texts are from those that the router was calibrated on, by the router's own scores.

The measure is the population stability index (Siddiqi, "Credit Risk Scorecards", 2006): the sum over ten bins
of (a - e) ln(a / e), where e is the share of the calibration's queries in a bin and a that of recent texts.
Below 0.1 nothing has moved, from 0.25 on much has.
"""

import math
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

WINDOW = 2000
"""Decisions that are looked back on."""
_ENOUGH = 200
_BINS = 10


class Drift:
    """Recent scores against a calibration's.

    Args:
        provenance: of an artifact; without a `curve` in it there is nothing to compare with.
    """

    def __init__(self, provenance: Mapping[str, Any]) -> None:
        self.points = _points(provenance)
        self._edges, self._expected = _bins(self.points)
        self._recent: deque[int] = deque(maxlen=WINDOW)
        self._counts = [0] * len(self._expected)

    def observe(self, p_cloud: float) -> None:
        """Count one decision's p_cloud, 0..1."""
        if not self._edges:
            return
        if len(self._recent) == WINDOW:
            self._counts[self._recent[0]] -= 1
        found = bisect_right(self._edges, p_cloud)
        self._recent.append(found)
        self._counts[found] += 1

    @property
    def index(self) -> float | None:
        """The population stability index, at least 0; None without a curve, or with too few decisions."""
        if not self._edges or len(self._recent) < _ENOUGH:
            return None
        whole = len(self._recent) + 0.5 * len(self._expected)
        shares = [(count + 0.5) / whole for count in self._counts]
        pairs = zip(shares, self._expected, strict=True)
        return sum((share - expected) * math.log(share / expected) for share, expected in pairs)


def _points(provenance: Mapping[str, Any]) -> list[dict[str, float]]:
    """The curve's points by rising share; none where there is no curve, or one that is not understood."""
    curve = provenance.get("curve")
    points = curve.get("points") if isinstance(curve, Mapping) else None
    if not isinstance(points, list) or not all(_is_point(point) for point in points):
        return []
    return sorted(points, key=lambda point: point["share"])


def _is_point(point: Any) -> bool:
    return isinstance(point, dict) and all(
        isinstance(value := point.get(name), int | float) and 0.0 <= value <= 1.0
        for name in ("share", "threshold")
    )


def _bins(points: list[dict[str, float]]) -> tuple[list[float], list[float]]:
    """Inner edges, rising, and the share of the calibration's queries in each of the bins around them."""
    times = Counter(point["threshold"] for point in points)
    nearest: dict[int, tuple[float, float, float]] = {}
    for point in points:
        share, threshold = point["share"], point["threshold"]
        # An older curve holds one threshold at several shares where scores are equal; none is what it does.
        if 0.0 < share < 1.0 and times[threshold] == 1:
            tenth = round(share * _BINS)
            found = (abs(share * _BINS - tenth), threshold, share)
            nearest[tenth] = min(nearest.get(tenth, found), found)
    above = {threshold: share for _, threshold, share in nearest.values()}
    edges = sorted(above)
    over = [1.0, *(above[edge] for edge in edges), 0.0]
    return edges, [more - less for more, less in pairwise(over)] if edges else []
