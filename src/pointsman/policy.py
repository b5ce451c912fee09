"""From a probability to a target: pure arithmetic, no model, no text, no clock.

A query goes to the cloud if `p_cloud >= effective_threshold`: one comparison against one number, so the
decision never turns back as `p_cloud` rises. Two settings make that number:

* `cloud_threshold` t: the cloud needs `p_cloud >= t`.
* `confidence_threshold` c: what is not the safe target needs a probability of at least c. With the safe
  target `cloud`, local needs `p_cloud <= 1 - c`; with `local`, the cloud needs `p_cloud >= c`. 0 is off.

So `effective_threshold` is min(t, the next number above 1 - c) with the safe target `cloud`, and max(t, c)
with `local`.
"""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

from pointsman.decision import Decision, Reason
from pointsman.errors import SettingsError
from pointsman.labels import CLOUD, LOCAL, checked_target


class Verdict(NamedTuple):
    """What the policy makes of one probability; see `Decision` for the meaning of each field."""

    target: str
    label: str
    confidence: float
    reason: Reason


@dataclass(frozen=True, slots=True)
class Policy:
    """The operator's thresholds.

    Attributes:
        cloud_threshold: the cloud needs a `p_cloud` of at least this, 0..1.
        confidence_threshold: what is not the safe target needs a probability of at least this, 0..1.
        safe_target: `local` or `cloud`: where a doubtful query goes, and one that cannot be read.
    """

    cloud_threshold: float = 0.5
    confidence_threshold: float = 0.7
    safe_target: str = CLOUD

    def __post_init__(self) -> None:
        for name in ("cloud_threshold", "confidence_threshold"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= 1.0:
                raise SettingsError(f"{name}: expected a number from 0 to 1, found {value!r}.")
        if (
            not isinstance(self.safe_target, str)
            or checked_target(self.safe_target, "safe_target") != self.safe_target
        ):
            raise SettingsError(f"safe_target: expected 'local' or 'cloud', found {self.safe_target!r}.")

    def overruled(
        self,
        *,
        cloud_threshold: float | None = None,
        confidence_threshold: float | None = None,
        safe_target: str | None = None,
    ) -> Self:
        """This policy with what is given; None keeps what is here.

        A cloud threshold that is chosen is the one that is served: without a confidence threshold beside it,
        the confidence rule is off.
        """
        if confidence_threshold is None:
            confidence_threshold = self.confidence_threshold if cloud_threshold is None else 0.0
        if cloud_threshold is None:
            cloud_threshold = self.cloud_threshold
        return type(self)(cloud_threshold, confidence_threshold, safe_target or self.safe_target)

    @property
    def effective_threshold(self) -> float:
        """A `p_cloud` of at least this goes to the cloud, 0..1."""
        if self.safe_target == LOCAL:
            return max(self.cloud_threshold, self.confidence_threshold)
        return min(self.cloud_threshold, math.nextafter(1.0 - self.confidence_threshold, 2.0))

    def decide(self, p_cloud: float, *, is_empty: bool = False, is_unreadable: bool = False) -> Verdict:
        """Decide one query.

        Args:
            p_cloud: probability of `cloud`, 0..1, finite.
            is_empty: the text had nothing to read, so the model's word does not count.
            is_unreadable: the vocabulary does not hold most of its words; likewise.
        """
        label, confidence = (CLOUD, p_cloud) if p_cloud >= 0.5 else (LOCAL, 1.0 - p_cloud)
        if is_empty or is_unreadable:
            reason = Reason.EMPTY_TEXT if is_empty else Reason.UNREADABLE_TEXT
            return Verdict(self.safe_target, label, confidence, reason)
        target = CLOUD if p_cloud >= self.effective_threshold else LOCAL
        if 1.0 - self.confidence_threshold < p_cloud < self.confidence_threshold:
            reason = Reason.LOW_CONFIDENCE
        else:
            reason = Reason.MODEL if target == label else Reason.THRESHOLD
        return Verdict(target, label, confidence, reason)

    def decide_again(self, decision: Decision) -> Decision:
        """The same query's decision under this policy."""
        verdict = self.decide(
            decision.p_cloud,
            is_empty=decision.reason is Reason.EMPTY_TEXT,
            is_unreadable=decision.reason is Reason.UNREADABLE_TEXT,
        )
        return replace(decision, target=verdict.target, reason=verdict.reason)
