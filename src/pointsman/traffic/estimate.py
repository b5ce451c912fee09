"""What a run of calls will take, before anything is paid: calls, tokens, money, minutes."""

from collections.abc import Sequence
from dataclasses import dataclass

from pointsman.traffic.endpoint import Call
from pointsman.traffic.work import Work

_ANSWER_TOKENS = 300.0
_SECONDS = 4.0
"""Assumed of an answer until some of its role are there."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """What is expected of a role's answers: mean completion tokens, and mean seconds of one call.

    Attributes:
        tokens_out: by role.
        seconds: by role.
        is_priced: every endpoint has prices.
    """

    tokens_out: dict[str, float]
    seconds: dict[str, float]
    is_priced: bool

    def cost(self, call: Call) -> float | None:
        """Money for a call, about; None without prices."""
        return call.endpoint.cost(call.tokens_in, self.tokens_out.get(call.role, _ANSWER_TOKENS))


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is left to ask; `money` is None where a price is not known, in the unit of the prices."""

    calls: int
    kept: int
    tokens_in: float
    tokens_out: float
    money: float | None
    minutes: float

    def sentence(self, currency: str) -> str:
        """One line for the person who pays."""
        money = "money unknown (no prices)" if self.money is None else f"about {self.money:.4g} {currency}"
        return (
            f"{self.calls:,} calls ({self.kept:,} more are kept from before), about {self.tokens_in:,.0f} "
            f"tokens in and {self.tokens_out:,.0f} out, {money}, about {self.minutes:.0f} min"
        )


def price_kept(calls: Sequence[Call], work: Work) -> None:
    """Give the kept answers of these roles the prices that are known now."""
    with work.transaction():
        for role, endpoint in {call.role: call.endpoint for call in calls}.items():
            if endpoint.price_in is not None and endpoint.price_out is not None:
                work.price(role, endpoint.model, endpoint.price_in, endpoint.price_out)


def expectation(calls: Sequence[Call], work: Work, tokens_out: float = _ANSWER_TOKENS) -> Expectation:
    """What the answers that are kept say about those to come; `tokens_out` is assumed without any."""
    tokens, seconds = {}, {}
    for role in {call.role for call in calls}:
        found = [answer for answers in work.answers(role).values() for answer in answers]
        tokens[role] = sum(a.tokens_out for a in found) / len(found) if found else tokens_out
        seconds[role] = sum(a.seconds for a in found) / len(found) if found else _SECONDS
    return Expectation(tokens, seconds, all(call.endpoint.price_in is not None for call in calls))


def estimate(calls: Sequence[Call], work: Work, expect: Expectation, concurrency: int) -> Estimate:
    """What the calls that are not kept yet will take."""
    left = list({call.key: call for call in calls if work.paid(call.key) is None}.values())
    costs = [expect.cost(call) for call in left]
    return Estimate(
        calls=len(left),
        kept=len(calls) - len(left),
        tokens_in=sum(call.tokens_in for call in left),
        tokens_out=sum(expect.tokens_out[call.role] for call in left),
        money=None if None in costs else sum(cost for cost in costs if cost is not None),
        minutes=sum(expect.seconds[call.role] for call in left) / concurrency / 60,
    )
