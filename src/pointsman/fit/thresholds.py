"""What each threshold does on rows that nothing has learned from: cloud share, quality, money."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pointsman.datasets.duplicates import SKETCH, share_in
from pointsman.errors import DataError
from pointsman.evaluation.bootstrap import Bootstrap, Interval
from pointsman.evaluation.bootstrap import Rows as Drawn
from pointsman.evaluation.quality import router_scores
from pointsman.fit.rows import Floats, Rows
from pointsman.runtime.router import Router
from pointsman.traffic.work import Work

UNSEEN = "unseen"
NO_PRICES = (
    "No prices given, so the money is unknown: set price_in and price_out in the configuration and run the "
    "same `collect` again; nothing is paid twice"
)
_SHARES = np.linspace(0.0, 1.0, 11)
KEPT_QUALITY = 0.95
"""Without a wish, the recommended row keeps so much of the cloud's lead at the smallest share."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Mean money of one query, answered by each model; None where a price is not known."""

    local: float | None
    cloud: float | None

    def month(self, share: float, queries: float) -> float | None:
        """Money for a number of queries, a share of them (0..1) answered by the cloud."""
        if self.local is None or self.cloud is None:
            return None
        return queries * (share * self.cloud + (1.0 - share) * self.local)


@dataclass(frozen=True, slots=True)
class ThresholdRow:
    """One threshold.

    Attributes:
        threshold: a p_cloud of at least this goes to the cloud, 0..1.
        share: of the queries that go to the cloud, 0..1.
        quality: mean score of the answers given, with its interval.
        recovered: of the cloud's lead over the local model, 0 to 1; NaN where there is none.
        month: money for a month; None where a price is not known.
        saved: of what the cloud alone would cost, 0..1; None where a price is not known.
    """

    threshold: float
    share: float
    quality: Interval
    recovered: float
    month: float | None
    saved: float | None


def unseen_key(p_cloud: Floats) -> str:
    """What a router's record calls what was said of its rows before they taught it."""
    return f"{UNSEEN} {hashlib.sha256(p_cloud.tobytes()).hexdigest()[:16]}"


def keep_unseen(work: Work, rows: Rows, p_cloud: Floats) -> None:
    """Keep in the folder what was said of rows by models that had not seen them."""
    work.set_fact(unseen_key(p_cloud), dict(zip(rows.queries, p_cloud.tolist(), strict=True)))


def served_scores(router: Router, rows: Rows, work: Work) -> Floats:
    """p_cloud of rows as it is served, float64 (rows,): 1 for what always goes to the cloud.

    Of a row that taught the router, it is what was said of it by a model that had not seen it.

    Raises:
        DataError: rows taught the router, and this is not the folder where that was kept.
    """
    p_cloud = np.clip(router_scores(router, rows.queries), 0.0, 1.0)
    provenance = router.manifest.provenance
    if "fit" not in provenance:
        return p_cloud
    unseen = work.fact(provenance["fit"].get(UNSEEN, ""))
    if unseen is None and share_in(rows.queries, provenance.get("training", {}).get(SKETCH, ())):
        raise DataError(
            f"{work.directory} holds rows that the router was fitted to, and is not the folder of that fit: "
            "use that folder, or fit again."
        )
    return np.array([(unseen or {}).get(q, p) for q, p in zip(rows.queries, p_cloud, strict=True)])


def costs_of(rows: Rows) -> Costs:
    """Mean cost of a local and of a cloud answer, as they were paid."""

    def mean(role: str) -> float | None:
        costs = [fact.get(role, {}).get("cost") for fact in rows.facts]
        known = [cost is not None for cost in costs]
        if not any(known):
            return None
        paid = np.array([cost or 0.0 for cost in costs])
        return float(np.average(paid[known], weights=rows.weight[known]))

    return Costs(mean("local"), mean("cloud"))


def thresholds_for(rows: Rows, p_cloud: Floats) -> list[float]:
    """A threshold for every tenth of the share, each half way between two queries, highest first."""
    order = np.argsort(-p_cloud, kind="stable")
    ranked, share = p_cloud[order], np.cumsum(rows.weight[order]) / rows.weight.sum()
    # Only between two different scores: equal ones cannot be told apart.
    ends = np.flatnonzero(ranked[1:] != ranked[:-1])
    between = [
        (0.0, 1.0),
        *((float(share[e]), float((ranked[e] + ranked[e + 1]) / 2)) for e in ends),
        (1.0, 0.0),
    ]
    found = [min(between, key=lambda one: abs(one[0] - wanted))[1] for wanted in _SHARES]
    return sorted(set(found), reverse=True)


def threshold_row(
    rows: Rows, p_cloud: Floats, threshold: float, costs: Costs, per_month: float
) -> ThresholdRow:
    """What a threshold does; see `ThresholdRow`."""
    calls = p_cloud >= threshold
    given = np.where(calls, rows.strong, rows.weak)

    def figures(drawn: Drawn) -> dict[str, float]:
        return {"quality": float(np.average(given[drawn], weights=rows.weight[drawn]))}

    quality = Bootstrap().intervals(figures, len(given))["quality"]
    share = float(np.average(calls, weights=rows.weight))
    weak, strong = (float(np.average(s, weights=rows.weight)) for s in (rows.weak, rows.strong))
    month, whole = costs.month(share, per_month), costs.month(1.0, per_month)
    return ThresholdRow(
        threshold,
        share,
        quality,
        (quality.value - weak) / (strong - weak) if strong != weak else float("nan"),
        month,
        1.0 - month / whole if month is not None and whole else None,
    )


def threshold_table(rows: Rows, p_cloud: Floats, costs: Costs, per_month: float) -> list[ThresholdRow]:
    """What each of `thresholds_for` does."""
    return [threshold_row(rows, p_cloud, t, costs, per_month) for t in thresholds_for(rows, p_cloud)]


def pick(
    table: Sequence[ThresholdRow],
    *,
    share: float | None = None,
    quality: float | None = None,
    budget: float | None = None,
) -> ThresholdRow:
    """The row for a wish, from thresholds with rising share.

    Args:
        table: what to pick from.
        share: of queries that may go to the cloud, at most, 0..1.
        quality: of the cloud's lead that has to be recovered, 0..1.
        budget: money a month, at most.

    Raises:
        DataError: a wish that no row meets, or a budget where prices are not known.
    """
    if share is not None:
        fitting = [row for row in table if row.share <= share + 1e-9]
    elif budget is not None:
        if any(row.month is None for row in table):
            raise DataError("--budget needs the prices of both models in the configuration of `collect`.")
        fitting = [row for row in table if row.month is not None and row.month <= budget + 1e-9]
    else:
        wanted = KEPT_QUALITY if quality is None else quality
        fitting = [row for row in reversed(table) if row.recovered >= wanted - 1e-9]
    if not fitting:
        raise DataError("no threshold does what was asked: ask for less quality, or for more money or share.")
    return fitting[-1]


def wrong_decisions(rows: Rows, p_cloud: Floats, threshold: float, count: int = 5) -> dict[str, list[str]]:
    """The queries that a threshold sends the wrong way, the surest ones first, by kind."""
    calls = p_cloud >= threshold
    kinds = {
        "to the cloud without need": (calls & (rows.gain <= 0), -p_cloud),
        "kept local though the cloud was better": (~calls & (rows.gain > 0), p_cloud),
    }
    return {
        kind: [
            rows.queries[at] for at in np.argsort(np.where(wrong, order, np.inf))[: min(count, wrong.sum())]
        ]
        for kind, (wrong, order) in kinds.items()
    }
