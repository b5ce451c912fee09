"""Leave one out: what the outcomes of other families of questions say of one that was never read.

All rows of the family left out are unseen, so all are judged: the training rows among them, and no test row.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointsman.datasets.duplicates import near_duplicate_key
from pointsman.evaluation.curve import apgr, cost_quality_curve
from pointsman.train.data import Measured, merged
from pointsman.train.experts import Features, all_features, balanced_weights, ridge_opinion

MEAN = "mean"
_LEAST_LEAD = 0.03


def leave_one_out(
    rows: Sequence[Measured], vectors: NDArray[np.float16], by_subject: Sequence[str] = ()
) -> dict[str, dict[str, float]]:
    """APGR of joint ridges on the gain, by what was left out and by what the ridge reads, and the means.

    Args:
        rows: measured rows of at least two families.
        vectors: a sentence encoder's, of `distinct(rows)` in that order, float16 (queries, width).
        by_subject: families of which each subject is left out, not the family as a whole.

    Returns:
        For each family or subject, and for `mean`, the APGR of `words`, `vectors` and `both`; NaN where the
        strong models lead by less than .03, which the mean leaves out.
    """
    examples = merged(rows, [row.gain for row in rows])
    parts = [row.subject if row.source in by_subject else row.source for row in rows]
    part = dict(zip((row.query for row in reversed(rows)), reversed(parts), strict=True))
    names = np.array([part[e.query] for e in examples])
    keys = np.array([near_duplicate_key(e.query) for e in examples])
    gains = np.array([e.p_cloud for e in examples], np.float64)
    family = np.array([e.source for e in examples])
    words, encoded = all_features([e.query for e in examples], np.ones(len(examples), bool), [vectors])
    kinds: dict[str, list[tuple[Features, float]]] = {"words": [words], "vectors": [encoded]}
    kinds["both"] = [words, encoded]
    found = {}
    for name in np.unique(names):
        ask = names == name
        learn = ~ask & ~np.isin(keys, keys[ask])
        weights = balanced_weights(family, learn)
        said = {k: ridge_opinion(f, gains, weights, learn, ask) for k, f in kinds.items()}
        queries = [e.query for e, chosen in zip(examples, ask, strict=True) if chosen]
        own = [row for row, its in zip(rows, parts, strict=True) if its == name]
        found[str(name)] = {k: _apgr(own, dict(zip(queries, s, strict=True))) for k, s in said.items()}
    means = {kind: float(np.nanmean([figures[kind] for figures in found.values()])) for kind in kinds}
    return {**found, MEAN: means}


def distinct(rows: Sequence[Measured]) -> list[str]:
    """Every query once, in the order of the rows."""
    return list(dict.fromkeys(row.query for row in rows))


def _apgr(rows: Sequence[Measured], score: dict[str, Any]) -> float:
    """APGR over the rows whose query has a score; NaN where the strong models hardly lead."""
    asked = [row for row in rows if row.query in score]
    weak, strong = (np.array([getattr(row, name) for row in asked]) for name in ("weak", "strong"))
    if abs(strong.mean() - weak.mean()) < _LEAST_LEAD:
        return float("nan")
    return apgr(cost_quality_curve(np.array([score[row.query] for row in asked]), weak, strong))
