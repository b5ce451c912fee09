"""What an operator can set of the traffic: what it may cost, and what is kept of it to learn from."""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from pointsman.serve.setting_values import Count, Part, Price, Share, linear_pattern


class BudgetSettings(Part):
    """Money that a period's chats may cost; the threshold moves so that the period ends on it."""

    amount: Price | None = Field(
        default=None,
        description="money for the chats of a period, in the unit of the prices; none: no budget",
    )
    period: Literal["day", "week", "month"] = Field(
        default="month", description="calendar period in UTC; a week begins on Monday"
    )
    lowest_threshold: Share = Field(
        default=0.0, description="the budget's threshold does not fall below this, however much money is left"
    )


class ShadowSettings(Part):
    """Both models asked behind the answer, for pairs that `pointsman judge` compares."""

    answers: Share = Field(
        default=0.0, description="share of the captured chats that both models are asked once more"
    )
    budget: Price = Field(default=0.0, description="money a day (UTC) for these calls")


class CaptureSettings(Part):
    """Chats that are written to a file, as `pointsman collect --from-capture` reads it."""

    path: Path | None = Field(
        default=None,
        description="file of JSON lines that the text of chats is written to; none: nothing is written",
    )
    share: Share = Field(default=1.0, description="share of the chats that are written")
    max_bytes: Count = Field(
        default=64 * 2**20,
        description="size at which the file is renamed to `.1`, in place of the one before",
    )
    redact: tuple[str, ...] = Field(
        default=(), description="regular expressions (RE2); what they find is written as `[redacted]`"
    )

    @field_validator("redact")
    @classmethod
    def _compile(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            if linear_pattern(pattern).search(""):
                raise ValueError("a pattern that finds the empty text would redact everything")
        return patterns
