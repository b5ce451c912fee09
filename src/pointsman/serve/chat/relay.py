"""An answer that has begun, passed on to the client as it comes.

A failure from here on is one event in the stream, without the `[DONE]` or `message_stop` that means success.
"""

import asyncio
import contextlib
import json

from pointsman.serve.chat.attempt import StartedResponse
from pointsman.serve.chat.context import ChatContext
from pointsman.serve.chat.cost import Tokens, count_cost, tokens_of, usage_of_stream
from pointsman.serve.chat.refusal import shaped
from pointsman.serve.chat.response_ids import as_the_client_sees
from pointsman.serve.chat.response_metadata import (
    answer_headers,
    decision_facts,
    stream_headers,
    with_decision,
    with_field,
)
from pointsman.serve.edge.idle_timeout import IdleTimeout
from pointsman.serve.edge.keep_alive import COMMENT, PING, KeepAlive
from pointsman.serve.failures import GatewayError, error_value
from pointsman.serve.upstream import sse

_BYTES_A_TOKEN = 4
_LAST_WORD_S = 1.0
"""How long a client that does not read may keep a stream's last event waiting."""


async def relay(context: ChatContext, started: StartedResponse) -> None:
    """Pass an answer on, to its end, and let its connection go."""
    context.served = started.answer.upstream.name
    try:
        await (_stream(context, started) if started.events is not None else _whole(context, started))
    finally:
        started.answer.response.close()
        if started.answer.response.status < 300 and context.payload:
            _account(context, started)
        started.call.end(context.exchange.facts.get("code"))


async def keep_alive(context: ChatContext) -> None:
    """A comment to the client of a stream; the first one begins the answer, before an upstream's has begun.

    After it another upstream may still answer, and a failure is an event.
    """
    if not context.exchange.status:
        await context.exchange.start(200, stream_headers(context, None))
    await context.exchange.chunk(PING if context.dialect.is_anthropic else COMMENT)


async def _whole(context: ChatContext, started: StartedResponse) -> None:
    answer, status = started.answer, started.answer.response.status
    data = as_the_client_sees(started.data, context.dialect.path, answer.upstream.name)
    if status >= 400:
        data = shaped(context, started.value, data, status)
    if started.value is not None or status >= 400:
        data = with_field(data, decision_facts(context, answer.upstream))
    if context.exchange.status:
        await _late(context, data, status)
        return
    await context.exchange.respond(status, data, answer_headers(context, answer))


async def _late(context: ChatContext, data: bytes, status: int) -> None:
    """A whole answer where a stream was begun: an error is its last event, and anything else is none."""
    if status < 400:
        raise GatewayError("upstream_invalid", "the upstream answered a stream's request as a whole")
    context.exchange.facts["code"] = "upstream_refused"
    end = sse.event(json.loads(data), "error" if context.dialect.is_anthropic else "")
    await context.exchange.chunk(end, more=False)


async def _stream(context: ChatContext, started: StartedResponse) -> None:
    answer = started.answer
    if not context.exchange.status:
        await context.exchange.start(answer.response.status, answer_headers(context, answer))
    await context.exchange.chunk(with_decision(context, answer, _seen(context, started, started.data)))
    try:
        # In a task of its own a piece wakes two frames, and not the whole way from the server to here.
        await asyncio.create_task(_pass_on(context, started))
    except TimeoutError:
        if not answer.response.is_unread:
            answer.record_broken("timeout")
        error = GatewayError("upstream_timeout", "the upstream stopped in the middle of its answer")
        await last_word(context, error, started)
    except (OSError, EOFError):
        answer.record_broken("reset")
        error = GatewayError("upstream_invalid", "the upstream broke off in the middle of its answer")
        await last_word(context, error, started)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if not context.is_cut or task is None:
            raise
        task.uncancel()
        await last_word(context, GatewayError("draining", "the gateway is shutting down"), started)
    else:
        await context.exchange.chunk(b"", more=False)


def _account(context: ChatContext, started: StartedResponse) -> None:
    """Count tokens and money of an answer, also of one that broke off or was left.

    Most streams of OpenAI's protocol say nothing of tokens. Their price is taken for one token an event, and
    one for four bytes of the request; the counters of tokens are of reported ones only.
    """
    gateway, upstream = context.gateway, started.answer.upstream.name
    if started.value is not None:
        usage = started.value.get("usage")
    else:
        usage = usage_of_stream(started.usage, context.dialect.usage_mark)
    tokens = tokens_of(usage)
    if any(tokens):
        gateway.metrics.tokens.labels(upstream, "in").inc(tokens.asked)
        gateway.metrics.tokens.labels(upstream, "out").inc(tokens.answered)
        started.call.used(tokens.asked, tokens.answered)
    elif started.events is not None:
        tokens = Tokens(started.asked_bytes // _BYTES_A_TOKEN, 0, started.event_count)
    count_cost(gateway, upstream, tokens, is_paced=context.plan.is_paced)


async def _pass_on(context: ChatContext, started: StartedResponse) -> None:
    """The stream from the second piece on."""
    response, events, exchange = started.answer.response, started.events, context.exchange
    assert events is not None
    size, most = len(started.data), context.gateway.settings.limits.answer_bytes
    usage_mark = context.dialect.usage_mark
    last, idle_s = started.data, started.answer.upstream.settings.idle_timeout_s
    keep_s = context.gateway.settings.routing.stream_keepalive_s

    async def say() -> None:
        # Between two events only, and never to a client that reads more slowly than the upstream speaks.
        if not (events.is_in_event or response.is_unread):
            await keep_alive(context)

    async with IdleTimeout(context.deadline, idle_s) as timeout, KeepAlive(keep_s, say) as alive:
        while piece := await response.read():
            if data := events.feed(piece):
                size += len(data)
                started.event_count += data.count(b"data:")
                if size > most:
                    raise EOFError
                await exchange.chunk(_seen(context, started, data))
                alive.renew()
                last = data
                if usage_mark in data:
                    started.usage[1:] = [data]
            timeout.renew(idle_s)
    rest = events.rest()
    if response.ends_with_connection and not any(mark in last + rest for mark in context.dialect.end_marks):
        # Only the connection's end says that this is all, and a cut looks just the same.
        raise EOFError
    if rest:
        await exchange.chunk(_seen(context, started, rest))


def _seen(context: ChatContext, started: StartedResponse, events: bytes) -> bytes:
    return as_the_client_sees(events, context.dialect.path, started.answer.upstream.name)


async def last_word(
    context: ChatContext, error: GatewayError, started: StartedResponse | None = None
) -> None:
    """End a stream that has begun with an error's event; `started` is what has gone on of the upstream's."""
    context.gateway.metrics.failures.labels(error.code).inc()
    context.exchange.facts["code"] = error.code
    error.extra = {"pointsman": decision_facts(context, None)}
    is_anthropic = context.dialect.is_anthropic
    body = error_value(error, context.exchange.request_id, is_anthropic=is_anthropic)
    event = sse.event(body, "error" if is_anthropic else "")
    is_in_event = started is not None and started.events is not None and started.events.is_in_event
    end_of_event = b"\n\n" if is_in_event else b""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LAST_WORD_S):
            await context.exchange.chunk(end_of_event + event, more=False)
