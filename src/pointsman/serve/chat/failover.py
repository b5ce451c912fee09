"""Which upstream answers: the plan's, or the other one where that failed or is slow.

Only before the first piece: after it, nothing is ever said twice. The race with a slow upstream is the hedged
request of J. Dean and L. A. Barroso, The tail at scale (Communications of the ACM 56(2), 2013): it goes out
only when the first is late, and only as often as a budget allows.
"""

import asyncio
from functools import partial

from pointsman.serve.chat.attempt import RefusedError, attempt
from pointsman.serve.chat.cost import count_unanswered
from pointsman.serve.chat.outcome import Outcome
from pointsman.serve.chat.request import NO_UPSTREAM, ChatRequest
from pointsman.serve.chat.started import StartedResponse
from pointsman.serve.failures import GatewayError
from pointsman.serve.upstream.upstreams import CallFailedError, Upstream

_SLOW = "slow"
"""The fallback's cause where the chosen upstream did not fail, but was not first."""
_ITS_WORD = ("rate_limited", "refused")
"""Causes that are an upstream's own answer, and not its absence."""
_CODES = {
    "unreachable": ("upstream_unreachable", "the upstream cannot be reached"),
    "open": ("upstream_unreachable", "the upstream failed again and again; it is given a rest"),
    "reset": ("upstream_unreachable", "the upstream closed the connection"),
    "timeout": ("upstream_timeout", "the upstream did not answer in time"),
    "invalid": ("upstream_invalid", "the upstream gave no usable answer"),
    "status": ("upstream_invalid", "the upstream answered with an error of its own"),
    "rate_limited": ("upstream_rate_limited", "the upstream has too much to do"),
    "protocol": ("protocol_not_spoken", "the upstream is not set to speak this route's protocol"),
    "unconfigured": ("no_upstream", NO_UPSTREAM),
}


async def first_answer(request: ChatRequest, outcome: Outcome) -> StartedResponse:
    """The first answer that begins, of the plan's upstream or of the other one.

    Args:
        outcome: is told why another upstream was asked, and whether both were.

    Raises:
        GatewayError: there is none; with the decision, and with what the upstream said of coming back.
    """
    plan, gateway = outcome.plan, request.gateway
    name = "cloud" if plan.target == "local" else "local"
    may_move = not plan.is_bound and f"{plan.target}-to-{name}" in gateway.settings.routing.fallback
    chosen, other = request.upstream(plan.target), request.upstream(name) if may_move else None
    failure = CallFailedError("protocol" if plan.target in gateway.upstreams else "unconfigured")
    try:
        if chosen is not None:
            return _counted(request, outcome, await _hedged(request, outcome, chosen, other))
    except CallFailedError as failed:
        failure = _noted(request, failed)
    if other is not None and not outcome.is_hedged:
        outcome.fallback = failure.cause
        try:
            return _counted(request, outcome, await attempt(request, other))
        except CallFailedError as failed:
            noted = _noted(request, failed)
            # The first upstream's word counts: it is the one that should have answered.
            is_said = failure.cause in _ITS_WORD or failed.cause in ("rate_limited", "open")
            failure = failure if is_said and failure.cause != "unconfigured" else noted
    if isinstance(failure, RefusedError):
        return failure.started
    raise _final(request, outcome, failure)


async def _hedged(
    request: ChatRequest, outcome: Outcome, chosen: Upstream, other: Upstream | None
) -> StartedResponse:
    """The chosen upstream's answer, or the other's where that one was asked too and was first.

    Raises:
        CallFailedError: the chosen one failed, and so did the other where it was asked (`is_hedged`).
    """
    after_s = request.gateway.settings.routing.hedge_after_s
    if other is None or after_s is None:
        return await attempt(request, chosen)
    first = asyncio.create_task(attempt(request, chosen))
    attempts = [first]
    try:
        await asyncio.wait(attempts, timeout=after_s)
        decisive = first
        if not first.done() and _may_hedge(request, chosen, other):
            outcome.is_hedged = True
            second = asyncio.create_task(attempt(request, other))
            attempts.append(second)
            decisive = await _race(first, second)
            outcome.fallback = _why_not(first)
            winner = "chosen" if decisive is first else "other"
            _count(request, chosen, "none" if decisive.exception() else winner)
        started = await decisive
        attempts.remove(decisive)
        return started
    finally:
        for task in attempts:
            task.cancel()
            task.add_done_callback(partial(_drop, request))


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
    return first if _why_not(first) in _ITS_WORD else second


def _why_not(task: asyncio.Task[StartedResponse]) -> str | None:
    """Why an attempt has no answer; None where it has."""
    if not task.done():
        return _SLOW
    error = task.exception()
    return error.cause if isinstance(error, CallFailedError) else None


def _may_hedge(request: ChatRequest, chosen: Upstream, other: Upstream) -> bool:
    """Whether the other one takes calls, and the chosen one's budget, from which it retries, has one left."""
    if other.breaker.wait_s(request.exchange.client) > 0:
        return False
    if chosen.budget.spend():
        return True
    _count(request, chosen, "over_budget")
    return False


def _count(request: ChatRequest, chosen: Upstream, outcome: str) -> None:
    request.gateway.metrics.hedges.labels(chosen.name, outcome).inc()
    request.exchange.facts["hedge"] = outcome


def _drop(request: ChatRequest, task: asyncio.Task[StartedResponse]) -> None:
    """Close an answer that came and is not needed."""
    if not task.cancelled() and task.exception() is None:
        count_unanswered(request, task.result().upstream)
        task.result().close("cancelled")


def _noted(request: ChatRequest, failed: CallFailedError) -> CallFailedError:
    """The failure, in the log line though another upstream answers, without the frames that it went through.

    They lead back to who holds it, and would keep what came of the answer until the collector comes.
    """
    if failed.detail:
        facts = request.exchange.facts
        facts["upstream_failure"] = "; ".join(filter(None, (facts.get("upstream_failure"), failed.detail)))
    failed.__context__ = None
    return failed.with_traceback(None)


def _counted(request: ChatRequest, outcome: Outcome, started: StartedResponse) -> StartedResponse:
    """An answer, counted where another than the plan's upstream gave it."""
    target, used, gateway = outcome.plan.target, started.upstream.name, request.gateway
    if used != target:
        gateway.metrics.fallbacks.labels(target, used, outcome.fallback).inc()
        gateway.live.fallbacks += 1
        request.exchange.facts["fallback"] = outcome.fallback
    return started


def _final(request: ChatRequest, outcome: Outcome, failure: CallFailedError) -> GatewayError:
    (code, message), plan = _CODES[failure.cause], outcome.plan
    if failure.cause == "protocol":
        message += f"; set upstreams.{plan.target}.api to {' or '.join(request.dialect.apis)} if it does"
    elif plan.is_local_only and failure.cause != "rate_limited":
        code = "local_unavailable"
        message = "the local upstream is not available, and nothing else may answer"
    if failure.detail:
        message = f"{message} ({failure.detail})"
    error = GatewayError(code, message, retry_after_s=failure.retry_after_s)
    error.headers, error.extra = outcome.headers(), {"pointsman": outcome.facts()}
    return error
