"""One upstream asked once: its answer up to the first piece that can go to the client, or why there is none.

Until that piece another upstream may answer instead; it refuses to know whether one may.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pointsman.serve.chat.job import Job
from pointsman.serve.edge.http import Exchange
from pointsman.serve.edge.patience import Patience
from pointsman.serve.observability.tracing import Call
from pointsman.serve.upstream import sse
from pointsman.serve.upstream.upstreams import CallFailedError, Opened, Upstream


@dataclass(slots=True)
class Begun:
    """An answer of which the first piece is here: a whole body, or the first whole events of a stream.

    Attributes:
        value: of a whole body, where it is a JSON object.
        events: of a stream: holds back its unfinished end.
        usage: of a stream: the last piece that said something of tokens.
    """

    opened: Opened
    call: Call
    data: bytes
    value: dict[str, Any] | None = None
    events: sse.EventRelay | None = None
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
                return await _whole_body(job, opened, call, patience)
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
            return Begun(opened, call, data, None, events, data if b"total_tokens" in data else b"")
    raise opened.broke("invalid")


async def _whole_body(job: Job, opened: Opened, call: Call, patience: Patience) -> Begun:
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
    value = _object(body)
    if response.status < 300 and value is None:
        raise opened.broke("invalid")
    return Begun(opened, call, bytes(body), value)


def _object(body: bytearray) -> dict[str, Any] | None:
    """A JSON object, or None for anything else."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _body_for(payload: dict[str, Any], upstream: Upstream) -> bytes:
    """The request as it came, but for the model's name."""
    sent = {**payload, "model": upstream.settings.model}
    if sent["model"] is None:
        del sent["model"]
    return json.dumps(sent, ensure_ascii=False, separators=(",", ":")).encode()


def _headers(exchange: Exchange) -> dict[bytes, bytes]:
    return {**dict(exchange.scope["headers"]), b"x-request-id": exchange.request_id.encode()}
