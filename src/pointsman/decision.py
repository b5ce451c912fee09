"""A decision: the model's word beside ours, and why they differ.

This file defines what a decision says, and nothing of how one is made.
"""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why the target is what it is."""

    MODEL = "model"
    """The model's label, taken as it is."""
    THRESHOLD = "threshold"
    """The cloud threshold overruled the more probable label."""
    LOW_CONFIDENCE = "low_confidence"
    """Neither label reached the confidence threshold: the safe target."""
    EMPTY_TEXT = "empty_text"
    """There was nothing to read: the safe target."""
    UNREADABLE_TEXT = "unreadable_text"
    """The vocabulary does not hold most of the words: the safe target."""


UNREAD = frozenset({Reason.EMPTY_TEXT, Reason.UNREADABLE_TEXT})
"""The model's word did not count, and no threshold acts."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Where one query goes.

    Attributes:
        target: `local` or `cloud`: what to do, after policy.
        label: `local` or `cloud`: what the model said, the more probable of the two.
        confidence: probability of `label`, 0.5..1.
        p_cloud: probability of `cloud`, 0..1; calibrated where the artifact has a calibration.
        reason: why `target` is what it is.
        tokens: how many tokens the model read, with the two special ones; at least 2.
        truncated: the text was longer than the model reads; its beginning decided.
    """

    target: str
    label: str
    confidence: float
    p_cloud: float
    reason: Reason
    tokens: int
    truncated: bool

    def to_dict(self) -> dict[str, str | float | int | bool]:
        """The decision as plain values, ready for JSON."""
        return {
            "target": self.target,
            "label": self.label,
            "confidence": self.confidence,
            "p_cloud": self.p_cloud,
            "reason": self.reason.value,
            "tokens": self.tokens,
            "truncated": self.truncated,
        }
