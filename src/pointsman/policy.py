"""From a probability to a target: pure arithmetic, no model, no text, no clock.

Two thresholds act. `cloud_threshold` says from which probability of `cloud` on a query goes to the
cloud. `confidence_threshold` says how sure the model must be of its own label; below it the safe
target is used. A confidence is never under 0.5, so a `confidence_threshold` of 0.5 or less is off.
"""

from dataclasses import dataclass
from typing import NamedTuple

from pointsman.decision import Reason
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
        cloud_threshold: a `p_cloud` of at least this goes to the cloud, 0..1.
        confidence_threshold: a confidence under this goes to the safe target, 0..1.
        safe_target: `local` or `cloud`: where a query goes that nobody is sure about.
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

    def decide(self, p_cloud: float, *, is_empty: bool = False) -> Verdict:
        """Decide one query.

        Args:
            p_cloud: probability of `cloud`, 0..1, finite.
            is_empty: the text had nothing to read, so the model's word does not count.
        """
        label, confidence = (CLOUD, p_cloud) if p_cloud >= 0.5 else (LOCAL, 1.0 - p_cloud)
        if is_empty:
            return Verdict(self.safe_target, label, confidence, Reason.EMPTY_TEXT)
        if confidence < self.confidence_threshold:
            return Verdict(self.safe_target, label, confidence, Reason.LOW_CONFIDENCE)
        target = CLOUD if p_cloud >= self.cloud_threshold else LOCAL
        return Verdict(target, label, confidence, Reason.MODEL if target == label else Reason.THRESHOLD)
