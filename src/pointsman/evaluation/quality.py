"""How well a router routes: every figure of a report, as plain values that JSON can hold.

A scorer is anything that gives a number for a query, higher where the cloud is needed more; only a
router's number is a probability, so only its decisions and its calibration are judged.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointsman.datasets.outcomes import Dataset
from pointsman.evaluation.bootstrap import Bootstrap, Rows
from pointsman.evaluation.calibration import threshold_for_share
from pointsman.evaluation.curve import apgr, cost_quality_curve, curve_figures
from pointsman.evaluation.metrics import accuracy, brier, calibration_error, f1, reliability, roc_auc
from pointsman.labels import CLOUD, LOCAL
from pointsman.policy import Policy
from pointsman.runtime.probability import cloud_probability
from pointsman.runtime.router import Router
from pointsman.runtime.tokenize import Encoding

POOLED = "pooled"
CURVE_POINTS = 101

Floats = NDArray[np.float64]
Scorer = Callable[[Sequence[str]], Floats]


@dataclass(frozen=True, slots=True)
class Prices:
    """What one query costs, in one unit of the reader's choice."""

    local: float = 0.0
    cloud: float = 1.0


@dataclass(frozen=True, slots=True)
class Slice:
    """Queries that all belong to one target, by a stated rule.

    Attributes:
        label: where they belong, `local` or `cloud`.
    """

    name: str
    label: str
    queries: tuple[str, ...]


def groups_of(data: Dataset) -> dict[str, NDArray[np.bool_]]:
    """Rows of each group by name, and of all of them as `pooled`."""
    found = {str(name): data.group == name for name in np.unique(data.group)}
    return {**found, POOLED: np.ones(len(data.queries), np.bool_)}


def assess_ranking(data: Dataset, score: Floats, bootstrap: Bootstrap) -> dict[str, Any]:
    """AUC and the cost-quality figures of any scorer, with intervals, and its curve at every percent."""

    def figures(rows: Rows) -> dict[str, float]:
        weight = data.weight_of(rows)
        curve = asdict(curve_figures(score[rows], data.weak[rows], data.strong[rows], weight))
        return {"auc": roc_auc(data.is_cloud[rows], score[rows], weight), **curve}

    curve = cost_quality_curve(score, data.weak, data.strong, data.weight)
    shares = np.linspace(0.0, 1.0, CURVE_POINTS)
    return {
        "rows": len(data.queries),
        "cloud_is_better": float(np.average(data.is_cloud, weights=data.weight)),
        "figures": _plain(bootstrap.intervals(figures, len(data.queries))),
        "curve": np.interp(shares, curve.share, curve.quality).tolist(),
    }


def served_scores(p_cloud: Floats, is_unread: NDArray[np.bool_], policy: Policy) -> Floats:
    """Scores, float64 (queries,), of which at least `policy.effective_threshold` is what goes to the cloud.

    A text that is empty or unreadable goes to the safe target at every threshold: inf or -inf; others keep
    their p_cloud.
    """
    return np.where(is_unread, np.inf if policy.safe_target == CLOUD else -np.inf, p_cloud)


def router_scores(router: Router, texts: Sequence[str]) -> Floats:
    """`served_scores` of a router's texts, float64 (texts,)."""
    p_cloud = cloud_probability(router.logits(texts), router.labels.cloud_index, router.manifest.calibration)
    return served_scores(p_cloud, is_unread(router.encode(texts)), router.policy)


def is_unread(encodings: Sequence[Encoding]) -> NDArray[np.bool_]:
    """Which texts go to the safe target because nothing or too little of them was read, bool (texts,)."""
    return np.array([encoding.is_empty or encoding.is_unreadable for encoding in encodings], np.bool_)


def assess_decisions(
    data: Dataset, score: Floats, policy: Policy, prices: Prices, bootstrap: Bootstrap
) -> dict[str, Any]:
    """Decisions of the policy, and the honesty of the probabilities, with intervals.

    Args:
        score: from `served_scores`; honesty is measured where it is a probability.
    """
    calls, is_read = score >= policy.effective_threshold, np.isfinite(score)

    def figures(rows: Rows) -> dict[str, float]:
        called, is_cloud, weight = calls[rows], data.is_cloud[rows], data.weight_of(rows)
        read = rows[is_read[rows]]
        given = np.where(called, data.strong[rows], data.weak[rows])
        share = float(np.average(called, weights=weight))
        cost = share * prices.cloud + (1.0 - share) * prices.local
        return {
            "accuracy": accuracy(is_cloud, called, weight),
            "f1": f1(is_cloud, called, weight),
            "cloud_share": share,
            "quality": float(np.average(given, weights=weight)),
            "cost": cost,
            "saved": 1.0 - cost / prices.cloud,
            "brier": brier(data.is_cloud[read], score[read], data.weight_of(read)),
            "calibration_error": calibration_error(data.is_cloud[read], score[read], data.weight_of(read)),
        }

    read = data.subset(is_read)
    return {
        "figures": _plain(bootstrap.intervals(figures, len(score))),
        "reliability": [asdict(b) for b in reliability(read.is_cloud, score[is_read], read.weight)],
    }


def assess_difference(data: Dataset, score: Floats, other: Floats, bootstrap: Bootstrap) -> dict[str, float]:
    """APGR of a score less that of another, on the same resampled rows."""

    def figure(rows: Rows) -> float:
        outcomes = data.weak[rows], data.strong[rows], data.weight_of(rows)
        ours, theirs = (apgr(cost_quality_curve(s[rows], *outcomes)) for s in (score, other))
        return ours - theirs

    return asdict(bootstrap.interval(figure, len(score)))


def assess_slice(part: Slice, score: Floats, policy: Policy, bootstrap: Bootstrap) -> dict[str, Any]:
    """Which share of a slice goes where it belongs: by the bare label, and as `policy` serves it."""
    by_label = (score >= 0.5) == (part.label == CLOUD)
    by_policy = (score >= policy.effective_threshold) == (part.label == CLOUD)
    probabilities = score[np.isfinite(score)]

    def figures(rows: Rows) -> dict[str, float]:
        return {"label_right": float(by_label[rows].mean()), "target_right": float(by_policy[rows].mean())}

    wrong = [q for q, right in zip(part.queries, by_label, strict=True) if not right]
    return {
        "name": part.name,
        "label": part.label,
        "rows": len(part.queries),
        "figures": _plain(bootstrap.intervals(figures, len(part.queries))),
        "mean_p_cloud": float(probabilities.mean()) if len(probabilities) else None,
        "wrong": wrong[:10],
    }


def assess_calibration(
    is_cloud: Floats, p_cloud: Floats, weight: Floats, bootstrap: Bootstrap
) -> dict[str, Any]:
    """The calibration error of one kind of traffic, over the texts that are read, with its interval."""
    read = np.isfinite(p_cloud)
    is_true, p, weight = is_cloud[read] > 0.5, p_cloud[read], weight[read]

    def figure(rows: Rows) -> float:
        return calibration_error(is_true[rows], p[rows], weight[rows])

    error = bootstrap.interval(figure, len(p))
    return {"rows": len(p), "calibration_error": asdict(error)}


def assess_examples(part: Slice, p_cloud: Floats) -> list[dict[str, Any]]:
    """Every query of a slice with its answer, for slices short enough to be read."""
    return [
        {
            "query": query,
            "belongs": part.label,
            "label": CLOUD if p >= 0.5 else LOCAL,
            "confidence": float(max(p, 1.0 - p)),
        }
        for query, p in zip(part.queries, p_cloud, strict=True)
    ]


def assess_flips(
    before: Floats, after: Mapping[str, Floats], threshold: float, bootstrap: Bootstrap
) -> dict[str, Any]:
    """Share of decisions that another wording turned, by kind of edit and over all of them.

    Args:
        before: of the queries as written, from `served_scores`, float64 (queries,).
        after: of the same queries, edited, by kind of edit.
    """
    flips = {name: (before >= threshold) != (edited >= threshold) for name, edited in after.items()}
    flips["all edits"] = np.mean(list(flips.values()), axis=0)

    def figures(rows: Rows) -> dict[str, float]:
        return {name: float(flipped[rows].mean()) for name, flipped in flips.items()}

    found = bootstrap.intervals(figures, len(before))
    return {"queries": len(before), "figures": _plain(found)}


def assess_shares(score: Floats, seed: int, weight: Floats | None = None) -> list[Any]:
    """Share of cloud calls asked for on one half of the queries, and the share got on the other half."""
    order = np.random.default_rng(seed).permutation(len(score))
    seen, unseen = order[::2], order[1::2]
    weights = [None if weight is None else weight[half] for half in (seen, unseen)]
    made = []
    for share in (0.1, 0.2, 0.3, 0.5):
        threshold = threshold_for_share(score[seen], share, weight=weights[0])
        got = float(np.average(score[unseen] >= threshold, weights=weights[1]))
        made.append({"asked": share, "threshold": threshold, "got": got})
    return made


def _plain(found: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    return {name: asdict(value) for name, value in found.items()}
