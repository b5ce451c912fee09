"""Which upstream answers: the plan's, or the other one where that failed and the operator allows it.

Only before the first piece: after it, nothing is ever said twice.
"""

from pointsman.serve.chat.attempt import RefusedError, StartedResponse, attempt
from pointsman.serve.chat.context import ChatContext
from pointsman.serve.chat.hedging import hedged_attempt
from pointsman.serve.chat.response_metadata import decision_facts, decision_headers
from pointsman.serve.failures import GatewayError
from pointsman.serve.upstream.upstreams import CallFailedError, Upstream

_CODES = {
    "unreachable": ("upstream_unreachable", "the upstream cannot be reached"),
    "open": ("upstream_unreachable", "the upstream failed again and again; it is given a rest"),
    "reset": ("upstream_unreachable", "the upstream closed the connection"),
    "timeout": ("upstream_timeout", "the upstream did not answer in time"),
    "invalid": ("upstream_invalid", "the upstream gave no usable answer"),
    "status": ("upstream_invalid", "the upstream answered with an error of its own"),
    "rate_limited": ("upstream_rate_limited", "the upstream has too much to do"),
    "protocol": ("protocol_not_spoken", "the upstream is not set to speak this route's protocol"),
    "unconfigured": (
        "no_upstream",
        "no upstream is configured for this target; set upstreams.local and .cloud",
    ),
}


async def begin(context: ChatContext) -> StartedResponse:
    """The first answer that begins, of the plan's upstream or of its fallback.

    Raises:
        GatewayError: there is none; with the decision, and with what the upstream said of coming back.
    """
    chosen, other = context.upstream(context.plan.target), _stand_in(context)
    hedge_after_s = context.gateway.settings.routing.hedge_after_s
    failure = CallFailedError(
        "protocol" if context.gateway.upstreams.get(context.plan.target) else "unconfigured"
    )
    try:
        if chosen is not None and other is not None and hedge_after_s is not None:
            return _counted(context, await hedged_attempt(context, chosen, other, hedge_after_s))
        if chosen is not None:
            return await attempt(context, chosen)
    except CallFailedError as failed:
        failure = _noted(context, failed)
    if other is not None and not context.is_hedged:
        context.fallback = failure.cause
        try:
            return _counted(context, await attempt(context, other))
        except CallFailedError as failed:
            noted = _noted(context, failed)
            # The first upstream's word counts: it is the one that should have answered.
            is_first = failure.cause in ("rate_limited", "refused") or failed.cause in (
                "rate_limited",
                "open",
            )
            failure = failure if is_first and failure.cause != "unconfigured" else noted
    if isinstance(failure, RefusedError):
        return failure.started
    raise _final(context, failure)


def _noted(context: ChatContext, failed: CallFailedError) -> CallFailedError:
    """The failure, in the log line though another upstream answers, without the frames that it went through.

    They lead back to who holds it, and would keep what came of the answer until the collector comes.
    """
    if failed.detail:
        facts = context.exchange.facts
        facts["upstream_failure"] = "; ".join(filter(None, (facts.get("upstream_failure"), failed.detail)))
    failed.__context__ = None
    return failed.with_traceback(None)


def no_upstream() -> GatewayError:
    """Nothing is configured that could answer a chat."""
    return GatewayError(*_CODES["unconfigured"])


def _stand_in(context: ChatContext) -> Upstream | None:
    """The other upstream, where the plan and the operator let it answer."""
    wanted = context.plan.target
    other = "cloud" if wanted == "local" else "local"
    if context.plan.is_bound or f"{wanted}-to-{other}" not in context.gateway.settings.routing.fallback:
        return None
    return context.upstream(other)


def _counted(context: ChatContext, started: StartedResponse) -> StartedResponse:
    """An answer, counted where another than the plan's upstream gave it."""
    used = started.answer.upstream.name
    if used != context.plan.target:
        context.gateway.metrics.fallbacks.labels(context.plan.target, used, context.fallback).inc()
        context.gateway.live.fallbacks += 1
        context.exchange.facts["fallback"] = context.fallback
    return started


def _final(context: ChatContext, failure: CallFailedError) -> GatewayError:
    code, message = _CODES[failure.cause]
    plan = context.plan
    if failure.cause == "protocol":
        message += f"; set upstreams.{plan.target}.api to {' or '.join(context.dialect.apis)} if it does"
    elif plan.is_bound and plan.target == "local" and failure.cause != "rate_limited":
        code, message = (
            "local_unavailable",
            "the local upstream is not available, and nothing else may answer",
        )
    if failure.detail:
        message = f"{message} ({failure.detail})"
    error = GatewayError(code, message, retry_after_s=failure.retry_after_s)
    error.headers = decision_headers(context, None)
    error.extra = {"pointsman": decision_facts(context, None)}
    return error
