"""An answer that has begun, passed on to the client as it comes.

A failure from here on is one event in the stream, without the `[DONE]` that means success.
"""

import asyncio
import contextlib
import json

import httpx

from pointsman.serve import sse
from pointsman.serve.attempt import Begun, is_object
from pointsman.serve.disclosure import answer_headers, decision_facts, preamble, with_field
from pointsman.serve.failures import GatewayError, error_object
from pointsman.serve.job import Job
from pointsman.serve.money import account_usage

_LAST_WORD_S = 1.0
"""How long a client that does not read may keep a stream's last event waiting."""


async def relay(job: Job, begun: Begun) -> None:
    """Pass an answer on, to its end, and let its connection go."""
    try:
        await (_stream(job, begun) if begun.relay is not None else _whole(job, begun))
    finally:
        await begun.opened.close()
        begun.call.end(job.exchange.facts.get("code"))


async def _whole(job: Job, begun: Begun) -> None:
    opened = begun.opened
    if opened.response.status_code < 300:
        usage = json.loads(begun.data).get("usage")
        begun.call.used(*account_usage(job.gateway, opened.upstream.name, usage))
    data = begun.data
    if is_object(data):
        data = with_field(data, decision_facts(job, opened.upstream))
    await job.exchange.respond(opened.response.status_code, data, answer_headers(job, opened))


async def _stream(job: Job, begun: Begun) -> None:
    opened = begun.opened
    await job.exchange.start(opened.response.status_code, answer_headers(job, opened))
    await job.exchange.chunk(preamble(job, opened) + begun.data)
    try:
        await _pass_on(job, begun)
    except TimeoutError:
        opened.upstream.count_broken()
        await _last_word(
            job, GatewayError("upstream_timeout", "the upstream stopped in the middle of its answer")
        )
    except (httpx.HTTPError, OSError, EOFError):
        opened.upstream.count_broken()
        await _last_word(
            job, GatewayError("upstream_invalid", "the upstream broke off in the middle of its answer")
        )
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if not job.is_cut or task is None:
            raise
        task.uncancel()
        await _last_word(job, GatewayError("draining", "the gateway is shutting down"))
    else:
        await job.exchange.chunk(b"", more=False)
    usage = sse.last_value(begun.usage, b"total_tokens")
    if usage is not None:
        begun.call.used(*account_usage(job.gateway, opened.upstream.name, usage.get("usage")))


async def _pass_on(job: Job, begun: Begun) -> None:
    """The stream from the second piece on."""
    opened, events, exchange = begun.opened, begun.relay, job.exchange
    assert events is not None
    size, most = len(begun.data), job.gateway.settings.limits.answer_bytes
    last = begun.data
    loop, idle_s, deadline = asyncio.get_running_loop(), opened.upstream.settings.idle_timeout_s, job.deadline
    async with asyncio.timeout_at(min(deadline, loop.time() + idle_s)) as timeout:
        async for piece in opened.pieces:
            data = events.feed(piece)
            if data:
                last = data
                size += len(data)
                if size > most:
                    raise EOFError
                if b"total_tokens" in data:
                    begun.usage = data
                await exchange.chunk(data)
            timeout.reschedule(min(deadline, loop.time() + idle_s))
    rest = events.rest()
    if opened.ends_with_connection and b"[DONE]" not in last + rest:
        # Only the connection's end says that this is all, and a cut looks just the same.
        raise EOFError
    if rest:
        await exchange.chunk(rest)


async def _last_word(job: Job, error: GatewayError) -> None:
    job.gateway.metrics.failures.labels(error.code).inc()
    job.exchange.facts["code"] = error.code
    body = {"error": error_object(error, job.exchange.request_id)}
    body["pointsman"] = decision_facts(job, None)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LAST_WORD_S):
            await job.exchange.chunk(sse.event(body), more=False)
