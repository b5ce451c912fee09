"""A slow upstream raced against the other: who is first to say something answers, and the loser is let go.

After J. Dean and L. A. Barroso, The tail at scale (Communications of the ACM 56(2), 2013): the second request
goes out only when the first is late, and only as often as a budget allows.
"""

import asyncio

from pointsman.serve.chat.attempt import StartedResponse, attempt
from pointsman.serve.chat.context import ChatContext
from pointsman.serve.upstream.upstreams import CallFailedError, Upstream

SLOW = "slow"
"""The fallback's cause where the chosen upstream did not fail, but was not first."""


async def hedged_attempt(
    context: ChatContext, chosen: Upstream, other: Upstream, after_s: float
) -> StartedResponse:
    """The chosen upstream's answer, or the other's where that one was asked too and was first.

    Args:
        after_s: how long the chosen one may take before the other is asked as well.

    Raises:
        CallFailedError: the chosen one failed, and so did the other where it was asked (`context.is_hedged`).
    """
    first = asyncio.create_task(attempt(context, chosen))
    attempts = [first]
    try:
        await asyncio.wait(attempts, timeout=after_s)
        decisive = first
        if not first.done() and _may_hedge(context, chosen, other):
            context.is_hedged = True
            second = asyncio.create_task(attempt(context, other))
            attempts.append(second)
            decisive = await _race(first, second)
            context.fallback = _why_not(first)
            outcome = "none" if decisive.exception() else "chosen" if decisive is first else "other"
            _count(context, chosen, outcome)
        started = await decisive
        attempts.remove(decisive)
        return started
    finally:
        for task in attempts:
            _let_go(task)


async def _race(
    first: asyncio.Task[StartedResponse], second: asyncio.Task[StartedResponse]
) -> asyncio.Task[StartedResponse]:
    """The one that has an answer, the first where both have; where neither gets one, whose failure counts."""
    pending = {first, second}
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for task in (first, second):
            if task in done and task.exception() is None:
                return task
    return first if _why_not(first) in ("rate_limited", "refused") else second


def _why_not(task: asyncio.Task[StartedResponse]) -> str | None:
    """Why an attempt has no answer; None where it has."""
    if not task.done():
        return SLOW
    error = task.exception()
    return error.cause if isinstance(error, CallFailedError) else None


def _may_hedge(context: ChatContext, chosen: Upstream, other: Upstream) -> bool:
    """Whether the other one takes calls, and the chosen one's budget, from which it retries, has one left."""
    if other.breaker.wait_s(context.exchange.client) > 0:
        return False
    if chosen.budget.spend():
        return True
    _count(context, chosen, "over_budget")
    return False


def _count(context: ChatContext, chosen: Upstream, outcome: str) -> None:
    context.gateway.metrics.hedges.labels(chosen.name, outcome).inc()
    context.exchange.facts["hedge"] = outcome


def _let_go(task: asyncio.Task[StartedResponse]) -> None:
    """Cancel an attempt, or drop its unused answer."""
    task.cancel()
    task.add_done_callback(_drop)


def _drop(task: asyncio.Task[StartedResponse]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().drop()
