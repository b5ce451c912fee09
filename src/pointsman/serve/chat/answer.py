"""The answer to a chat: the first that begins, of the plan's upstreams, passed on to the client as it comes.

Nothing is sent before an upstream's answer has begun; from then on only that answer is. A failure after that
is one event in the stream, without the `[DONE]` or `message_stop` that means success.
"""

import asyncio
import contextlib
import json
from functools import partial
from typing import Any

from pointsman.serve.chat.cost import count_cost
from pointsman.serve.chat.failover import first_answer
from pointsman.serve.chat.outcome import STREAM, Outcome, first_piece
from pointsman.serve.chat.plan import Plan
from pointsman.serve.chat.request import ChatRequest
from pointsman.serve.chat.response_ids import as_the_client_sees
from pointsman.serve.chat.started import StartedResponse
from pointsman.serve.edge.idle_timeout import IdleTimeout
from pointsman.serve.edge.keep_alive import COMMENT, PING, KeepAlive
from pointsman.serve.failures import GatewayError, error_value
from pointsman.serve.upstream import sse

_LAST_WORD_S = 1.0
"""How long a client that does not read may keep a stream's last event waiting."""


async def answer(request: ChatRequest, plan: Plan) -> Outcome:
    """Ask the plan's upstreams and pass the answer on; while that lasts, the gateway's end can cut it.

    Raises:
        GatewayError: there is no answer, and nothing is sent yet; later it is the stream's last event.
    """
    gateway, exchange, outcome = request.gateway, request.exchange, Outcome(plan)
    task, is_cut = asyncio.current_task(), False
    assert task is not None

    def cut() -> None:
        nonlocal is_cut
        is_cut = True
        task.cancel()

    gateway.streams.add(cut)
    wait_s = gateway.settings.routing.stream_keepalive_s if request.is_stream else 0
    try:
        async with KeepAlive(wait_s, partial(_keep_alive, request, outcome)):
            outcome.started = await first_answer(request, outcome)
        await _relay(request, outcome, outcome.started)
    except (GatewayError, asyncio.CancelledError) as stopped:
        if isinstance(stopped, asyncio.CancelledError):
            if not is_cut:
                raise
            task.uncancel()
            advice = "" if outcome.started else "; try again"
            stopped = GatewayError("draining", f"the gateway is shutting down{advice}")
        if not exchange.status:
            raise stopped from None
        await _last_word(request, outcome, stopped)
    finally:
        gateway.streams.discard(cut)
        if (started := outcome.started) is not None:
            if started.answer.response.status < 300 and request.payload:
                count_cost(request, plan, started)
            started.close(exchange.facts.get("code"))
    return outcome


async def _relay(request: ChatRequest, outcome: Outcome, started: StartedResponse) -> None:
    """Pass an answer on, to its end.

    Raises:
        GatewayError: it broke off, or is no stream where one has begun.
    """
    exchange, upstream = request.exchange, started.answer
    status, has_begun = upstream.response.status, bool(exchange.status)
    headers, data = first_piece(request, outcome, started)
    if started.events is None:
        if not has_begun:
            await exchange.respond(status, data, headers)
        elif status < 400:
            raise GatewayError("upstream_invalid", "the upstream answered a stream's request as a whole")
        else:
            exchange.facts["code"] = "upstream_refused"
            await exchange.chunk(_error_event(request, json.loads(data)), more=False)
        return
    if not has_begun:
        await exchange.start(status, headers)
    await exchange.chunk(data)
    try:
        # In a task of its own a piece wakes two frames, and not the whole way from the server to here.
        await asyncio.create_task(_pass_on(request, outcome, started, started.events))
    except TimeoutError:
        if not upstream.response.is_unread:
            upstream.record_broken("timeout")
        raise GatewayError("upstream_timeout", "the upstream stopped in the middle of its answer") from None
    except (OSError, EOFError):
        upstream.record_broken("reset")
        raise GatewayError("upstream_invalid", "the upstream broke off in the middle of its answer") from None
    await exchange.chunk(b"", more=False)


async def _pass_on(
    request: ChatRequest, outcome: Outcome, started: StartedResponse, events: sse.EventRelay
) -> None:
    """The stream from the second piece on."""
    response, exchange, dialect = started.answer.response, request.exchange, request.dialect
    size, most = len(started.data), request.gateway.settings.limits.answer_bytes
    last, idle_s = started.data, started.upstream.settings.idle_timeout_s
    keep_s = request.gateway.settings.routing.stream_keepalive_s

    async def say() -> None:
        # Between two events only, and never to a client that reads more slowly than the upstream speaks.
        if not (events.is_in_event or response.is_unread):
            await _keep_alive(request, outcome)

    def seen(events: bytes) -> bytes:
        return as_the_client_sees(started.upstream.masked_error(events), dialect.path, started.upstream.name)

    async with IdleTimeout(request.deadline, idle_s) as timeout, KeepAlive(keep_s, say) as alive:
        while piece := await response.read():
            if data := events.feed(piece):
                size += len(data)
                started.event_count += data.count(b"data:")
                if size > most:
                    raise EOFError
                await exchange.chunk(seen(data))
                alive.renew()
                last = data
                if dialect.usage_mark in data:
                    started.usage[1:] = [data]
            timeout.renew(idle_s)
    rest = events.rest()
    if response.ends_with_connection and not any(mark in last + rest for mark in dialect.end_marks):
        # Only the connection's end says that this is all, and a cut looks just the same.
        raise EOFError
    if rest:
        await exchange.chunk(seen(rest))


async def _keep_alive(request: ChatRequest, outcome: Outcome) -> None:
    """A comment to the client of a stream; the first one begins the answer, before an upstream's has begun.

    After it another upstream may still answer, and a failure is an event.
    """
    if not request.exchange.status:
        await request.exchange.start(200, [*STREAM, *outcome.headers()])
    await request.exchange.chunk(PING if request.dialect.is_anthropic else COMMENT)


async def _last_word(request: ChatRequest, outcome: Outcome, error: GatewayError) -> None:
    """End a stream that has begun with an error's event."""
    exchange = request.exchange
    request.gateway.metrics.failures.labels(error.code).inc()
    exchange.facts["code"] = error.code
    error.extra = {"pointsman": outcome.facts()}
    value = error_value(error, exchange.request_id, is_anthropic=request.dialect.is_anthropic)
    events = None if outcome.started is None else outcome.started.events
    end_of_event = b"\n\n" if events is not None and events.is_in_event else b""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LAST_WORD_S):
            await exchange.chunk(end_of_event + _error_event(request, value), more=False)


def _error_event(request: ChatRequest, value: dict[str, Any]) -> bytes:
    return sse.event(value, "error" if request.dialect.is_anthropic else "")
