"""One upstream asked once: its answer up to the first piece that can go to the client, or why there is none.

Until that piece another upstream may answer instead; it refuses to know whether one may.
"""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import httpx

from pointsman.serve import sse
from pointsman.serve.http import Exchange
from pointsman.serve.job import Job
from pointsman.serve.tracing import Call
from pointsman.serve.upstreams import CallFailedError, Opened, Upstream


@dataclass(slots=True)
class Begun:
    """An answer of which the first piece is here: a whole body, or the first whole events of a stream.

    Attributes:
        relay: holds back the unfinished end of a stream; None for a whole body.
        usage: the last piece of a stream that said something of tokens.
    """

    opened: Opened
    data: bytes
    relay: sse.EventRelay | None
    call: Call
    usage: bytes = b""


async def attempt(job: Job, upstream: Upstream) -> Begun:
    """Ask an upstream and wait for the first piece of its answer.

    Raises:
        CallFailedError: it gave none; its connection is closed.
    """
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
    if not opened.is_stream:
        data = await _all(job, opened)
        if opened.response.status_code < 300 and not is_object(data):
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


def _patience(job: Job, opened: Opened, *, first: bool = False) -> float:
    """The event loop's time until which the next piece must be here."""
    settings = opened.upstream.settings
    wait_s = settings.first_byte_timeout_s if first else settings.idle_timeout_s
    return min(job.deadline, asyncio.get_running_loop().time() + wait_s)


def is_object(data: bytes) -> bool:
    """Whether a body is a JSON object."""
    try:
        return isinstance(json.loads(data), dict)
    except (ValueError, RecursionError):
        return False


def _broken(opened: Opened, cause: str) -> CallFailedError:
    opened.upstream.count_broken()
    return CallFailedError(cause)


def _body_for(payload: dict[str, Any], upstream: Upstream) -> bytes:
    """The request as it came, but for the model's name."""
    sent = {**payload, "model": upstream.settings.model}
    if sent["model"] is None:
        del sent["model"]
    return json.dumps(sent, ensure_ascii=False, separators=(",", ":")).encode()


def _headers(exchange: Exchange) -> dict[bytes, bytes]:
    return {**dict(exchange.scope["headers"]), b"x-request-id": exchange.request_id.encode()}
