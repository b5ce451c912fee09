"""An answer that has begun, passed on to the client as it comes.

A failure from here on is one event in the stream, without the `[DONE]` that means success.
"""

import asyncio
import contextlib

from pointsman.serve.chat.attempt import Begun
from pointsman.serve.chat.disclosure import answer_headers, decision_facts, preamble, with_field
from pointsman.serve.chat.job import Job
from pointsman.serve.chat.money import account_usage
from pointsman.serve.edge.patience import Patience
from pointsman.serve.failures import GatewayError, error_object
from pointsman.serve.upstream import sse

_LAST_WORD_S = 1.0
"""How long a client that does not read may keep a stream's last event waiting."""


async def relay(job: Job, begun: Begun) -> None:
    """Pass an answer on, to its end, and let its connection go."""
    try:
        await (_stream(job, begun) if begun.events is not None else _whole(job, begun))
    finally:
        begun.opened.response.close()
        begun.call.end(job.exchange.facts.get("code"))


async def _whole(job: Job, begun: Begun) -> None:
    opened, data = begun.opened, begun.data
    if begun.value is not None:
        data = with_field(data, decision_facts(job, opened.upstream))
        if opened.response.status < 300:
            usage = account_usage(job.gateway, opened.upstream.name, begun.value.get("usage"))
            begun.call.used(*usage)
    await job.exchange.respond(opened.response.status, data, answer_headers(job, opened))


async def _stream(job: Job, begun: Begun) -> None:
    opened = begun.opened
    await job.exchange.start(opened.response.status, answer_headers(job, opened))
    await job.exchange.chunk(preamble(job, opened) + begun.data)
    try:
        # In a task of its own a piece wakes two frames, and not the whole way from the server to here.
        await asyncio.create_task(_pass_on(job, begun))
    except TimeoutError:
        if not opened.response.is_unread:
            opened.broke("timeout")
        await _last_word(
            job, begun, GatewayError("upstream_timeout", "the upstream stopped in the middle of its answer")
        )
    except (OSError, EOFError):
        opened.broke("reset")
        await _last_word(
            job, begun, GatewayError("upstream_invalid", "the upstream broke off in the middle of its answer")
        )
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if not job.is_cut or task is None:
            raise
        task.uncancel()
        await _last_word(job, begun, GatewayError("draining", "the gateway is shutting down"))
    else:
        await job.exchange.chunk(b"", more=False)
    usage = sse.last_value(begun.usage, b"total_tokens")
    if usage is not None:
        begun.call.used(*account_usage(job.gateway, opened.upstream.name, usage.get("usage")))


async def _pass_on(job: Job, begun: Begun) -> None:
    """The stream from the second piece on."""
    response, events, exchange = begun.opened.response, begun.events, job.exchange
    assert events is not None
    size, most = len(begun.data), job.gateway.settings.limits.answer_bytes
    last, idle_s = begun.data, begun.opened.upstream.settings.idle_timeout_s
    async with Patience(job.deadline, idle_s) as patience:
        while piece := await response.read():
            if data := events.feed(piece):
                size += len(data)
                if size > most:
                    raise EOFError
                await exchange.chunk(data)
                last = data
                if b"total_tokens" in data:
                    begun.usage = data
            patience.renew(idle_s)
    rest = events.rest()
    if response.ends_with_connection and b"[DONE]" not in last + rest:
        # Only the connection's end says that this is all, and a cut looks just the same.
        raise EOFError
    if rest:
        await exchange.chunk(rest)


async def _last_word(job: Job, begun: Begun, error: GatewayError) -> None:
    job.gateway.metrics.failures.labels(error.code).inc()
    job.exchange.facts["code"] = error.code
    body = {"error": error_object(error, job.exchange.request_id)}
    body["pointsman"] = decision_facts(job, None)
    end_of_event = b"\n\n" if begun.events is not None and begun.events.is_in_event else b""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LAST_WORD_S):
            await job.exchange.chunk(end_of_event + sse.event(body), more=False)
