"""The cost-quality curve: how much of the strong model's gain is had for what share of its calls.

Ong et al., "RouteLLM: Learning to Route LLMs with Preference Data" (2024), define the performance gap
recovered, PGR = (quality - weak) / (strong - weak), its average over the share of strong calls, APGR, and
CPT(x), the smallest share of strong calls with PGR >= x. Their code computes neither quite so, hence two
names for each here:

* `apgr`: the area under PGR over the share, from the ranking of every query (the limit of the definition).
* `apgr_paper`: the mean of PGR at ten shares, as the paper's approximation says; the middles of ten equal
  parts (5 %, 15 %, ... 95 %) are taken, so that a coin comes to 0.5.
* `apgr_code`: the trapezoid rule over eleven thresholds at the deciles of the score, divided by the width of
  the shares that those reach, as `routellm/evals/evaluate.py` does.
* `cpt`: the paper's smallest share, on the full ranking.
* `cpt_code`: linear interpolation of the share over the quality of the eleven points, as the code does; it
  takes the quality for rising, which it need not be.

Queries of equal score are indistinguishable: the curve is straight across them. `weight` says how many
queries each row stands for, above 0, float64 (rows,); None counts all alike.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_DECILES = 10

_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Curve:
    """Quality over the share of queries that go to the strong model, both rising with a falling threshold.

    Attributes:
        share: float64 (points,), 0..1, from 0 to 1.
        quality: mean score of the answers given, float64 (points,).
        threshold: a score of at least this goes to the strong model, float64 (points,); inf at share 0.
    """

    share: _Floats
    quality: _Floats
    threshold: _Floats

    @property
    def weak(self) -> float:
        """Quality of the weak model alone."""
        return float(self.quality[0])

    @property
    def strong(self) -> float:
        """Quality of the strong model alone."""
        return float(self.quality[-1])

    @property
    def recovered(self) -> _Floats:
        """PGR at each point, float64 (points,); NaN where the models are equally good."""
        gap = self.strong - self.weak
        if gap == 0.0:
            return np.full_like(self.quality, np.nan)
        return (self.quality - self.weak) / gap

    def quality_at(self, share: float) -> float:
        """Quality at a share of strong calls, 0..1, between two points on the line between them."""
        return float(np.interp(share, self.share, self.quality))


@dataclass(frozen=True, slots=True)
class CurveFigures:
    """A curve in numbers; see the module for each definition. Shares 0..1, NaN where not defined."""

    weak: float
    strong: float
    apgr: float
    apgr_paper: float
    apgr_code: float
    cpt50: float
    cpt80: float
    cpt50_code: float
    cpt80_code: float


def cost_quality_curve(
    score: _Floats, weak: _Floats, strong: _Floats, weight: _Floats | None = None
) -> Curve:
    """The curve of a score that ranks queries by their need of the strong model.

    Args:
        score: float64 (rows,), finite.
        weak: quality of the weak model's answers, float64 (rows,).
        strong: of the strong model's, float64 (rows,).
        weight: see the module.
    """
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    part = np.full(len(score), 1.0 / len(score)) if weight is None else weight[order] / weight.sum()
    gains = np.cumsum(part * (strong[order] - weak[order]))
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    share = np.append(0.0, np.append(np.cumsum(part)[ends[:-1]], 1.0))
    quality = np.average(weak, weights=weight) + np.append(0.0, gains[ends])
    return Curve(share, quality, np.append(np.inf, ranked[ends]))


def apgr(curve: Curve) -> float:
    """Area under PGR over the share: 0.5 for a coin, NaN where the models are equally good."""
    return float(np.trapezoid(curve.recovered, curve.share))


def apgr_paper(curve: Curve) -> float:
    """Mean PGR at ten shares."""
    middles = (np.arange(_DECILES) + 0.5) / _DECILES
    return float(np.mean(np.interp(middles, curve.share, curve.recovered)))


def apgr_code(score: _Floats, weak: _Floats, strong: _Floats, weight: _Floats | None = None) -> float:
    """Trapezoid area over eleven thresholds, divided by that of the strong model's lead over them."""
    share, quality = _decile_points(score, weak, strong, weight)
    low, high = np.average(weak, weights=weight), np.average(strong, weights=weight)
    area = np.trapezoid(quality - low, share)
    lead = (high - low) * (share[-1] - share[0])
    return float(area / lead) if lead else float("nan")


def cpt(curve: Curve, recovered: float) -> float:
    """The smallest share of strong calls that recovers this share (0..1) of the gap, on the curve's lines."""
    pgr = curve.recovered
    reached = np.flatnonzero(pgr >= recovered)
    if not len(reached):
        return float("nan")
    last = int(reached[0])
    if last == 0:
        return 0.0
    rise = (recovered - pgr[last - 1]) / (pgr[last] - pgr[last - 1])
    return float(curve.share[last - 1] + rise * (curve.share[last] - curve.share[last - 1]))


def cpt_code(
    score: _Floats, weak: _Floats, strong: _Floats, recovered: float, weight: _Floats | None = None
) -> float:
    """The share at which the eleven points reach this share of the gap (0..1), by linear interpolation."""
    share, quality = _decile_points(score, weak, strong, weight)
    low, high = np.average(weak, weights=weight), np.average(strong, weights=weight)
    wanted = low + recovered * (high - low)
    return float(np.interp(wanted, quality, share))


def curve_figures(
    score: _Floats, weak: _Floats, strong: _Floats, weight: _Floats | None = None
) -> CurveFigures:
    """Every figure of the curve of a score; arguments as for `cost_quality_curve`."""
    curve = cost_quality_curve(score, weak, strong, weight)
    return CurveFigures(
        weak=curve.weak,
        strong=curve.strong,
        apgr=apgr(curve),
        apgr_paper=apgr_paper(curve),
        apgr_code=apgr_code(score, weak, strong, weight),
        cpt50=cpt(curve, 0.5),
        cpt80=cpt(curve, 0.8),
        cpt50_code=cpt_code(score, weak, strong, 0.5, weight),
        cpt80_code=cpt_code(score, weak, strong, 0.8, weight),
    )


def _decile_points(
    score: _Floats, weak: _Floats, strong: _Floats, weight: _Floats | None
) -> tuple[_Floats, _Floats]:
    """Share and quality, by rising share, at the deciles of the score; the last threshold is exclusive."""
    points = []
    for index, threshold in enumerate(_deciles(score, weight)):
        calls = score > threshold if index == _DECILES else score >= threshold
        share = np.average(calls, weights=weight)
        points.append((float(share), float(np.average(np.where(calls, strong, weak), weights=weight))))
    share, quality = zip(*sorted(points), strict=True)
    return np.array(share), np.array(quality)


def _deciles(score: _Floats, weight: _Floats | None) -> _Floats:
    """The eleven deciles, between two rows on the line between them; a row of weight n is n rows."""
    at = np.linspace(0.0, 1.0, _DECILES + 1)
    if weight is None:
        return np.quantile(score, at)
    order = np.argsort(score, kind="stable")
    ends, last = np.cumsum(weight[order]), len(score) - 1
    place = at * max(0.0, ends[-1] - 1.0)
    low, high = (
        score[order][np.minimum(np.searchsorted(ends, np.floor(place) + step, side="right"), last)]
        for step in (0.0, 1.0)
    )
    found: _Floats = low + (place - np.floor(place)) * (high - low)
    return found
