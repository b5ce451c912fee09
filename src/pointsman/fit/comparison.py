"""Whether a fitted router is worth its place: beside simple rankings of the same rows, paired."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pointsman.evaluation.bootstrap import Bootstrap, Interval
from pointsman.evaluation.bootstrap import Rows as Drawn
from pointsman.evaluation.curve import apgr, cost_quality_curve
from pointsman.fit.rows import Floats, Rows

FITTED, ROUTER = "fitted router", "today's router"
LENGTH, WORDS = "query length", "ridge on words"


@dataclass(frozen=True, slots=True)
class Compared:
    """One ranking of the rows.

    Attributes:
        apgr: its area under the recovered gap, 0.5 for a coin.
        lead: the fitted router's APGR less this one's, on the same resampled rows.
    """

    apgr: Interval
    lead: Interval

    @property
    def words(self) -> str:
        """What the lead says, plainly."""
        if self.lead.low > 0.0:
            return "beaten"
        return "not beaten" if self.lead.value <= 0.0 else "ahead of it, but these rows cannot tell"


def compare(rows: Rows, scores: Mapping[str, Floats], seed: int = 0) -> dict[str, Compared]:
    """Every ranking with its interval and the fitted router's lead over it.

    Args:
        rows: rows that no ranking has learned from.
        scores: by name, the fitted router's among them: higher where the cloud is needed more, each float64
            (rows,).
        seed: of the bootstrap.
    """

    def figures(drawn: Drawn) -> dict[str, float]:
        weak, strong, weight = rows.weak[drawn], rows.strong[drawn], rows.weight[drawn]
        found = {k: apgr(cost_quality_curve(s[drawn], weak, strong, weight)) for k, s in scores.items()}
        return {**found, **{f"lead over {name}": found[FITTED] - value for name, value in found.items()}}

    made = Bootstrap(seed=seed).intervals(figures, len(rows.queries))
    return {name: Compared(made[name], made[f"lead over {name}"]) for name in scores}


def verdict(found: Mapping[str, Compared]) -> tuple[bool, str]:
    """Whether to use the fitted router, and why, in one sentence.

    It is recommended where it beats query length with its whole interval, and is not behind today's router.

    Args:
        found: what `compare` gave.
    """
    length, today = found[LENGTH], found[ROUTER]
    if not np.isfinite(found[FITTED].apgr.value):
        return False, "Both models are equally good on these rows: there is nothing to route for."
    if length.lead.value <= 0.0:
        return False, "It does not beat query length. Nothing is recommended."
    if length.lead.low <= 0.0:
        return False, (
            "It is ahead of query length, but these rows are too few to tell it from chance. "
            "Nothing is recommended: label more rows."
        )
    if today.lead.value < 0.0:
        return False, "It beats query length and is behind today's router. Keep today's router."
    sure = "beats" if today.lead.low > 0.0 else "is not behind"
    return True, f"It beats query length and {sure} today's router: use it."
