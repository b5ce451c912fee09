"""Why a router decided as it did: each word's weight, by leaving it out and asking again.

Leave-one-out (Li, Monroe and Jurafsky 2016, "Understanding Neural Networks through Representation
Erasure"): no gradients, so it works on the artifact that serves, and it says what the model did, not what
is true. Words share meaning: two that say the same may each seem to weigh nothing.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pointsman.decision import UNREAD, Decision
from pointsman.policy import Policy
from pointsman.runtime.probability import cloud_probability, log_odds
from pointsman.runtime.router import Router

MOST_PARTS = 96
_THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True, slots=True)
class Part:
    """A word, or some neighbouring words of a long text.

    Attributes:
        weight: how much higher the log-odds of cloud are with it than without it; under 0 for local.
    """

    text: str
    weight: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision with its reasons.

    Attributes:
        parts: the text in order; empty where there is nothing to leave out.
        thresholds: cloud threshold to the target that it gives, with the confidence rule off.
        turn: likewise where the target turns: the highest threshold that gives the cloud, and the next number
            above it; empty where no threshold decides, because the text was not read.
    """

    decision: Decision
    parts: tuple[Part, ...]
    thresholds: dict[float, str]
    turn: dict[float, str]


def explain(router: Router, text: str) -> Explanation:
    """Decide a text, and weigh its words.

    Args:
        router: what decided; it is asked once for each part, in batches.
        text: a query. Of one with more than 96 words, neighbours are weighed together.

    Raises:
        InputError: not a string.
    """
    decision = router.route(text)
    spans = _spans(text)
    without = [text[:start] + text[end:] for start, end in spans]
    parts: tuple[Part, ...] = ()
    if len(spans) > 1:
        odds = _log_odds(router, [text, *without])
        parts = tuple(
            Part(text[start:end].strip(), float(odds[0] - left))
            for (start, end), left in zip(spans, odds[1:], strict=True)
        )
    turn = [t for t in (decision.p_cloud, math.nextafter(decision.p_cloud, 2.0)) if t <= 1.0]
    is_read = decision.reason not in UNREAD
    return Explanation(
        decision,
        parts,
        _decided_again(router.policy, decision, _THRESHOLDS),
        _decided_again(router.policy, decision, turn if is_read else ()),
    )


def _decided_again(policy: Policy, decision: Decision, thresholds: Iterable[float]) -> dict[float, str]:
    return {t: policy.overruled(cloud_threshold=t).decide_again(decision).target for t in thresholds}


def _log_odds(router: Router, texts: list[str]) -> NDArray[np.float64]:
    return log_odds(
        cloud_probability(router.logits(texts), router.labels.cloud_index, router.manifest.calibration)
    )


def _spans(text: str) -> list[tuple[int, int]]:
    """Start and end of each part, white space after a word included; together they are the whole text."""
    starts = [i for i, c in enumerate(text) if not c.isspace() and (i == 0 or text[i - 1].isspace())]
    if not starts:
        return []
    each = -(-len(starts) // MOST_PARTS)
    edges = [*starts[::each], len(text)]
    edges[0] = 0
    return list(pairwise(edges))
