"""One upstream asked once: its answer up to the first piece that can go to the client, or why there is none.

Until that piece another upstream may answer instead; it refuses to know whether one may.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pointsman.serve import sse
from pointsman.serve.http import Exchange
from pointsman.serve.job import Job
from pointsman.serve.patience import Patience
from pointsman.serve.tracing import Call
from pointsman.serve.upstreams import CallFailedError, Opened, Upstream


@dataclass(slots=True)
class Begun:
    """An answer of which the first piece is here: a whole body, or the first whole events of a stream.

    Attributes:
        events: holds back the unfinished end of a stream; None for a whole body.
        usage: the last piece of a stream that said something of tokens.
    """

    opened: Opened
    data: bytes
    events: sse.EventRelay | None
    call: Call
    usage: bytes = b""

    def drop(self) -> None:
        """Nobody wants the rest: close its connection."""
        self.opened.response.close()
        self.call.end("cancelled")


async def attempt(job: Job, upstream: Upstream) -> Begun:
    """Ask an upstream and wait for the first piece of its answer.

    Raises:
        CallFailedError: it gave none; its connection is closed.
    """
    settings = upstream.settings
    call = job.gateway.tracing.call(upstream.name, settings.api, job.path, settings.model)
    try:
        return await _begun(job, upstream, call)
    except BaseException as error:
        call.end(error.cause if isinstance(error, CallFailedError) else "cancelled")
        raise


async def _begun(job: Job, upstream: Upstream, call: Call) -> Begun:
    headers = {**_headers(job.exchange), **call.headers}
    failed: Callable[[str], CallFailedError] = upstream.failed
    try:
        async with Patience(job.deadline, upstream.settings.first_byte_timeout_s) as patience:
            opened = await upstream.call(job.path, _body_for(job.payload, upstream), headers)
            failed = opened.broke
            try:
                if opened.is_stream:
                    return await _first_events(opened, call)
                return Begun(opened, await _all(job, opened, patience), None, call)
            except BaseException:
                opened.response.close()
                raise
    except TimeoutError:
        raise failed("timeout") from None
    except OSError:
        raise failed("reset") from None


async def _first_events(opened: Opened, call: Call) -> Begun:
    events = sse.EventRelay()
    while piece := await opened.response.read():
        if data := events.feed(piece):
            return Begun(opened, data, events, call, data if b"total_tokens" in data else b"")
    raise opened.broke("invalid")


async def _all(job: Job, opened: Opened, patience: Patience) -> bytes:
    response, idle_s = opened.response, opened.upstream.settings.idle_timeout_s
    most = job.gateway.settings.limits.answer_bytes
    announced = response.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > most:
        raise opened.broke("invalid")
    body = bytearray()
    while piece := await response.read():
        patience.renew(idle_s)
        if len(body) + len(piece) > most:
            raise opened.broke("invalid")
        body += piece
    data = bytes(body)
    if response.status < 300 and not is_object(data):
        raise opened.broke("invalid")
    return data


def is_object(data: bytes) -> bool:
    """Whether a body is a JSON object."""
    try:
        return isinstance(json.loads(data), dict)
    except (ValueError, RecursionError):
        return False


def _body_for(payload: dict[str, Any], upstream: Upstream) -> bytes:
    """The request as it came, but for the model's name."""
    sent = {**payload, "model": upstream.settings.model}
    if sent["model"] is None:
        del sent["model"]
    return json.dumps(sent, ensure_ascii=False, separators=(",", ":")).encode()


def _headers(exchange: Exchange) -> dict[bytes, bytes]:
    return {**dict(exchange.scope["headers"]), b"x-request-id": exchange.request_id.encode()}
