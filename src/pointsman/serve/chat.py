"""Chats: plan, call, fall back where that is allowed, and relay the answer as it comes.

The border is the first byte to the client. Before it, another upstream may answer; after it, a failure is
one event in the stream, and nothing is ever said twice.
"""

import asyncio
import contextlib
import json
import time
from dataclasses import dataclass
from typing import Any

import httpx

from pointsman.serve import sse
from pointsman.serve.failures import GatewayError, error_object
from pointsman.serve.gateway import Gateway
from pointsman.serve.http import Exchange
from pointsman.serve.leaving import while_connected
from pointsman.serve.money import account_usage
from pointsman.serve.plan import Plan, plan_chat
from pointsman.serve.strict_json import parse_object
from pointsman.serve.tracing import Call
from pointsman.serve.upstreams import RETURNED, CallFailedError, Opened, Upstream

_CODES = {
    "unreachable": ("upstream_unreachable", "the upstream cannot be reached"),
    "open": ("upstream_unreachable", "the upstream failed again and again; it is given a rest"),
    "reset": ("upstream_unreachable", "the upstream closed the connection"),
    "timeout": ("upstream_timeout", "the upstream did not answer in time"),
    "invalid": ("upstream_invalid", "the upstream gave no usable answer"),
    "status": ("upstream_invalid", "the upstream answered with an error of its own"),
    "rate_limited": ("upstream_rate_limited", "the upstream has too much to do"),
    "unconfigured": (
        "no_upstream",
        "no upstream is configured for this target; set upstreams.local and .cloud",
    ),
}
_LAST_WORD_S = 1.0
"""How long a client that does not read may keep a stream's last event waiting."""


@dataclass(slots=True)
class Job:
    """One chat on its way."""

    gateway: Gateway
    exchange: Exchange
    path: str
    payload: dict[str, Any]
    plan: Plan
    deadline: float
    fallback: str | None = None
    is_cut: bool = False


@dataclass(slots=True)
class Begun:
    """An answer of which the first piece is here: a whole body, or the first whole events of a stream."""

    opened: Opened
    data: bytes
    relay: sse.EventRelay | None
    call: Call
    usage: bytes = b""


async def completions(gateway: Gateway, exchange: Exchange) -> None:
    """`/v1/chat/completions`, and the path of an Azure deployment, whose name is the model."""
    await _serve(gateway, exchange, "/chat/completions")


async def text_completions(gateway: Gateway, exchange: Exchange) -> None:
    """`/v1/completions`."""
    await _serve(gateway, exchange, "/completions")


async def responses(gateway: Gateway, exchange: Exchange) -> None:
    """`/v1/responses`."""
    await _serve(gateway, exchange, "/responses")


async def models(gateway: Gateway, exchange: Exchange) -> None:
    """`/v1/models`: what a request's model may say."""
    created = int(gateway.engine.current.loaded_at)
    names = ["auto", *gateway.upstreams.names()]
    data = [{"id": name, "object": "model", "created": created, "owned_by": "pointsman"} for name in names]
    await exchange.respond_json({"object": "list", "data": data})


async def _serve(gateway: Gateway, exchange: Exchange, path: str) -> None:
    limits = gateway.settings.limits
    exchange.facts["live"] = True
    if gateway.chats >= limits.chats:
        raise GatewayError("overloaded", "too many chats are in flight; try again")
    gateway.chats += 1
    try:
        payload = parse_object(await exchange.json_body(limits.body_bytes, limits.body_timeout_s))
        if "deployment" in exchange.params:
            payload["model"] = exchange.params["deployment"]
        if not gateway.upstreams:
            raise GatewayError("no_upstream", _CODES["unconfigured"][1])
        await while_connected(exchange, _chat(gateway, exchange, path, payload))
    finally:
        gateway.chats -= 1


async def _chat(gateway: Gateway, exchange: Exchange, path: str, payload: dict[str, Any]) -> None:
    allowed_s = _allowed_s(gateway, exchange)
    deadline = asyncio.get_running_loop().time() + allowed_s
    started = time.monotonic()
    with gateway.tracing.decision() as span:
        plan = await plan_chat(gateway, exchange, payload, started + allowed_s)
        span.say(**plan.trace_facts())
    gateway.count_decision("chat", plan.target, plan.reason, plan.answer)
    exchange.facts |= {"target": plan.target, "reason": plan.reason}
    job = Job(gateway, exchange, path, payload, plan, deadline)
    task = asyncio.current_task()

    def cut() -> None:
        job.is_cut = True
        if task is not None:
            task.cancel()

    gateway.streams.add(cut)
    try:
        begun = await _begin(job)
        try:
            await (_stream(job, begun) if begun.relay is not None else _whole(job, begun))
        finally:
            await begun.opened.close()
            begun.call.end(exchange.facts.get("code"))
    except asyncio.CancelledError:
        if not job.is_cut or task is None:
            raise
        task.uncancel()
        raise GatewayError("draining", "the gateway is shutting down; try again") from None
    finally:
        gateway.streams.discard(cut)


def _allowed_s(gateway: Gateway, exchange: Exchange) -> float:
    """Seconds for the whole chat: the operator's, or less where the client says so."""
    most = gateway.settings.limits.deadline_s
    asked = exchange.header(b"x-pointsman-deadline-ms")
    if asked is None:
        return most
    if not asked.isdecimal() or len(asked) > 9 or int(asked) == 0:
        raise GatewayError("invalid_request", "x-pointsman-deadline-ms: expected whole milliseconds")
    return min(most, int(asked) / 1000)


async def _begin(job: Job) -> Begun:
    """The first upstream that answers, in the order that the plan and the operator allow."""
    plan = job.plan
    other = "cloud" if plan.target == "local" else "local"
    targets = [plan.target]
    if not plan.is_bound and f"{plan.target}-to-{other}" in job.gateway.settings.routing.fallback:
        targets.append(other)
    failure = CallFailedError("unconfigured")
    for index, target in enumerate(targets):
        upstream = job.gateway.upstreams.get(target)
        if upstream is None:
            continue
        if index:
            job.fallback = failure.cause
        try:
            begun = await _attempt(job, upstream)
        except CallFailedError as failed:
            # The first upstream's wish counts: it is the one that should have answered.
            failure = failure if index and failure.cause == "rate_limited" else failed
            continue
        if index:
            job.gateway.metrics.fallbacks.labels(plan.target, target, failure.cause).inc()
            job.gateway.live.fallbacks += 1
            job.exchange.facts["fallback"] = failure.cause
        return begun
    raise _final(job, failure)


async def _attempt(job: Job, upstream: Upstream) -> Begun:
    settings = upstream.settings
    call = job.gateway.tracing.call(upstream.name, settings.api, job.path, settings.model)
    headers = {**_headers(job.exchange), **call.headers}
    try:
        opened = await upstream.call(job.path, _body_for(job.payload, upstream), headers, job.deadline)
        try:
            return await _first(job, opened, call)
        except BaseException:
            await opened.close()
            raise
    except BaseException as error:
        call.end(error.cause if isinstance(error, CallFailedError) else "cancelled")
        raise


async def _first(job: Job, opened: Opened, call: Call) -> Begun:
    """Wait for the first piece that can go to the client."""
    if not opened.is_stream:
        data = await _all(job, opened)
        if opened.response.status_code < 300 and not _is_object(data):
            raise _broken(opened, "invalid")
        return Begun(opened, data, None, call)
    relay = sse.EventRelay()
    try:
        async with asyncio.timeout_at(_patience(job, opened, first=True)):
            async for piece in opened.pieces:
                if data := relay.feed(piece):
                    usage = data if b"total_tokens" in data else b""
                    return Begun(opened, data, relay, call, usage)
    except TimeoutError:
        raise _broken(opened, "timeout") from None
    except (httpx.HTTPError, OSError):
        raise _broken(opened, "reset") from None
    raise _broken(opened, "invalid")


async def _all(job: Job, opened: Opened) -> bytes:
    most = job.gateway.settings.limits.answer_bytes
    pieces: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout_at(_patience(job, opened, first=True)) as timeout:
            async for piece in opened.pieces:
                size += len(piece)
                if size > most:
                    raise _broken(opened, "invalid")
                pieces.append(piece)
                timeout.reschedule(_patience(job, opened))
    except TimeoutError:
        raise _broken(opened, "timeout") from None
    except (httpx.HTTPError, OSError):
        raise _broken(opened, "reset") from None
    return b"".join(pieces)


async def _whole(job: Job, begun: Begun) -> None:
    opened = begun.opened
    if opened.response.status_code < 300:
        usage = json.loads(begun.data).get("usage")
        begun.call.used(*account_usage(job.gateway, opened.upstream.name, usage))
    facts = job.plan.facts(opened.upstream.name, job.fallback)
    data = with_field(begun.data, facts) if _is_object(begun.data) else begun.data
    await job.exchange.respond(opened.response.status_code, data, _answer_headers(job, opened))


async def _stream(job: Job, begun: Begun) -> None:
    """Relay whole events; tell a failure in the stream itself, without the `[DONE]` that means success."""
    opened = begun.opened
    await job.exchange.start(opened.response.status_code, _answer_headers(job, opened))
    await job.exchange.chunk(_preamble(job, opened) + begun.data)
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
    opened, relay, exchange = begun.opened, begun.relay, job.exchange
    assert relay is not None
    size, most = len(begun.data), job.gateway.settings.limits.answer_bytes
    last = begun.data
    loop, idle_s, deadline = asyncio.get_running_loop(), opened.upstream.settings.idle_timeout_s, job.deadline
    async with asyncio.timeout_at(_patience(job, opened)) as timeout:
        async for piece in opened.pieces:
            data = relay.feed(piece)
            if data:
                last = data
                size += len(data)
                if size > most:
                    raise EOFError
                if b"total_tokens" in data:
                    begun.usage = data
                await exchange.chunk(data)
            timeout.reschedule(min(deadline, loop.time() + idle_s))
    rest = relay.rest()
    if opened.ends_with_connection and b"[DONE]" not in last + rest:
        # Only the connection's end says that this is all, and a cut looks just the same.
        raise EOFError
    if rest:
        await exchange.chunk(rest)


async def _last_word(job: Job, error: GatewayError) -> None:
    job.gateway.metrics.failures.labels(error.code).inc()
    job.exchange.facts["code"] = error.code
    body = {"error": error_object(error, job.exchange.request_id)}
    body["pointsman"] = job.plan.facts(None, job.fallback)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LAST_WORD_S):
            await job.exchange.chunk(sse.event(body), more=False)


def _preamble(job: Job, opened: Opened) -> bytes:
    """The decision, ahead of the first event: a chunk without choices, or a comment."""
    way = job.gateway.settings.routing.stream_decision
    facts = job.plan.facts(opened.upstream.name, job.fallback)
    if way == "off" or opened.response.status_code != 200:
        return b""
    if way == "comment" or job.path != "/chat/completions":
        return sse.comment(facts)
    return sse.event(
        {
            "id": f"pointsman-{job.exchange.request_id}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": opened.upstream.settings.model or opened.upstream.name,
            "choices": [],
            "pointsman": facts,
        }
    )


def with_field(data: bytes, facts: dict[str, Any]) -> bytes:
    """A JSON object's bytes with the field `pointsman` at its end; everything before stays as it is."""
    head = data.rstrip()[:-1].rstrip()
    comma = b"" if head.endswith(b"{") else b","
    return head + comma + b'"pointsman":' + json.dumps(facts).encode() + b"}"


def _is_object(data: bytes) -> bool:
    try:
        return isinstance(json.loads(data), dict)
    except (ValueError, RecursionError):
        return False


def _patience(job: Job, opened: Opened, *, first: bool = False) -> float:
    """The event loop's time until which the next piece must be here."""
    settings = opened.upstream.settings
    wait_s = settings.first_byte_timeout_s if first else settings.idle_timeout_s
    return min(job.deadline, asyncio.get_running_loop().time() + wait_s)


def _broken(opened: Opened, cause: str) -> CallFailedError:
    opened.upstream.count_broken()
    return CallFailedError(cause)


def _final(job: Job, failure: CallFailedError) -> GatewayError:
    code, message = _CODES[failure.cause]
    plan = job.plan
    if plan.is_bound and plan.target == "local" and failure.cause != "rate_limited":
        code, message = (
            "local_unavailable",
            "the local upstream is not available, and nothing else may answer",
        )
    error = GatewayError(code, message, retry_after_s=failure.retry_after_s)
    error.headers = plan.headers(None, job.fallback, None)
    error.extra = {"pointsman": plan.facts(None, job.fallback)}
    return error


def _body_for(payload: dict[str, Any], upstream: Upstream) -> bytes:
    """The request as it came, but for the model's name."""
    sent = {**payload, "model": upstream.settings.model}
    if sent["model"] is None:
        del sent["model"]
    return json.dumps(sent, ensure_ascii=False, separators=(",", ":")).encode()


def _headers(exchange: Exchange) -> dict[bytes, bytes]:
    return {**dict(exchange.scope["headers"]), b"x-request-id": exchange.request_id.encode()}


def _answer_headers(job: Job, opened: Opened) -> list[tuple[bytes, bytes]]:
    upstream, answer = opened.upstream, opened.response.headers
    headers = [(b"content-type", (opened.kind or "application/octet-stream").encode("ascii", "replace"))]
    if opened.is_stream:
        headers += [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
    headers += job.plan.headers(upstream.name, job.fallback, upstream.settings.model)
    for name, value in answer.items():
        is_returned = name in RETURNED or name.startswith("x-ratelimit-")
        if is_returned and len(value) <= 256 and value.isascii() and value.isprintable():
            headers.append((name.encode(), value.encode()))
    return headers
