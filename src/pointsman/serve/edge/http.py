"""The few things that every route does with ASGI: read a body within limits, answer with bytes.

It knows nothing of what a body means.
"""

import asyncio
import json
import random
import re
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from starlette.types import Receive, Scope, Send

from pointsman.serve.edge.memory import MemoryBudget
from pointsman.serve.failures import GatewayError

Headers = Sequence[tuple[bytes, bytes]]
JSON = (b"content-type", b"application/json")
EXTENSION = "pointsman"
"""The ASGI extension of our own server: `is_gone()` says at once whether a request's client has left, and
`is_whole` whether all of its body is there."""
_PIECE_BYTES = 2**18
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(slots=True)
class Exchange:
    """One request and the way to answer it.

    Attributes:
        request_id: the client's, if it is harmless, or ours.
        client: the holder of its key, or its address: whom limits count for.
        route: the path's pattern, for metrics; never the path itself.
        status: what was answered; 0 until then.
        own_headers: what every answer to it says, errors and streams too.
        is_work: texts or a chat were asked for, so that the live view counts it.
        facts: what the log line says beside that; never text, never keys.
        memory: what all requests may hold together; None counts nothing.
        held_bytes: what this one holds of that.
    """

    scope: Scope
    receive: Receive
    _send: Send
    request_id: str
    params: dict[str, str] = field(default_factory=dict)
    client: str = ""
    route: str = "unknown"
    status: int = 0
    is_closing: bool = False
    own_headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    is_work: bool = False
    facts: dict[str, Any] = field(default_factory=dict)
    memory: MemoryBudget | None = None
    held_bytes: int = 0

    @property
    def method(self) -> str:
        """The method, in capitals."""
        return str(self.scope["method"])

    def hold(self, size: int) -> None:
        """Count bytes of the body or of the answer, until the exchange ends.

        Raises:
            GatewayError: `overloaded`: all requests together hold too many.
        """
        if self.memory is not None:
            self.memory.take(size, self.held_bytes)
            self.held_bytes += size

    def release(self) -> None:
        """Hold nothing any more."""
        if self.memory is not None:
            self.memory.give_back(self.held_bytes)
            self.held_bytes = 0

    def header(self, name: bytes) -> str | None:
        """The value of a header (a lowercase name), or None; the first one where there are several."""
        for key, value in self.scope["headers"]:
            if key == name:
                return str(value.decode("latin-1"))
        return None

    def header_values(self, name: bytes) -> list[str]:
        """The values of a header that may come several times, or once with commas between them."""
        values = [value.decode("latin-1") for key, value in self.scope["headers"] if key == name]
        return [value.strip() for value in ",".join(values).split(",")] if values else []

    def is_wanted(self) -> bool:
        """Whether the client still waits, as far as the server can tell."""
        extension = self._extension()
        return extension is None or not extension["is_gone"]()

    def query(self) -> dict[str, str]:
        """The query string; of a repeated name the last value."""
        raw = self.scope.get("query_string", b"")
        if not raw:
            return {}
        try:
            return dict(parse_qsl(raw.decode("latin-1"), keep_blank_values=True, max_num_fields=32))
        except ValueError:
            raise GatewayError("invalid_request", "the query string has too many fields") from None

    async def start(self, status: int, headers: Headers) -> None:
        """Send the head of an answer; the request id and, when draining, `Connection: close` are added."""
        own = [(b"x-request-id", self.request_id.encode()), *self.own_headers]
        if self.is_closing and (b"connection", b"close") not in headers:
            own.append((b"connection", b"close"))
        self.status = status
        await self._send({"type": "http.response.start", "status": status, "headers": [*headers, *own]})

    def chunk(self, data: bytes, *, more: bool = True) -> Awaitable[None]:
        """Send a piece of the body."""
        return self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def respond(self, status: int, body: bytes, headers: Headers = (JSON,)) -> None:
        """Send a whole answer; to HEAD the head of it."""
        await self.start(status, [*headers, (b"content-length", str(len(body)).encode())])
        if self.method == "HEAD":
            body = b""
        # Piece by piece, so that a slow client's answer is here, where it is counted, and not in a buffer.
        for start in range(0, len(body) - _PIECE_BYTES, _PIECE_BYTES):
            await self.chunk(body[start : start + _PIECE_BYTES])
        await self.chunk(body[max(0, len(body) - 1) // _PIECE_BYTES * _PIECE_BYTES :], more=False)

    async def respond_json(self, value: Any, status: int = 200, headers: Headers = ()) -> None:
        """Send a value as JSON. A NaN in it is a fault of ours, and an error rather than bad JSON."""
        body = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        await self.respond(status, body, (JSON, *headers))

    async def body(self, limit_bytes: int, timeout_s: float) -> bytes:
        """The whole body.

        Raises:
            GatewayError: `body_too_large` (at once where its length is announced), `request_timeout`,
                `unsupported_media_type` for a compressed one.
        """
        if (self.header(b"content-encoding") or "identity").lower() != "identity":
            raise GatewayError("unsupported_media_type", "send the body without content-encoding")
        announced = self.header(b"content-length")
        if announced is not None and announced.isdecimal() and int(announced) > limit_bytes:
            raise self._too_large(limit_bytes)
        extension = self._extension()
        if extension is not None and extension["is_whole"]:
            return await self._rest_of_body(limit_bytes)
        try:
            async with asyncio.timeout(timeout_s):
                return await self._rest_of_body(limit_bytes)
        except TimeoutError:
            raise GatewayError("request_timeout", "the body did not arrive in time") from None

    async def _rest_of_body(self, limit_bytes: int) -> bytes:
        body = bytearray()
        try:
            await self._read_into(body, limit_bytes)
            return bytes(body)
        finally:
            # The frames that a refusal goes through would keep it until the collector comes.
            body.clear()

    async def _read_into(self, body: bytearray, limit_bytes: int) -> None:
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            piece = message.get("body", b"")
            if len(body) + len(piece) > limit_bytes:
                raise self._too_large(limit_bytes)
            self.hold(len(piece))
            body += piece
            if not message.get("more_body", False):
                return

    def _extension(self) -> Any:
        return self.scope.get("extensions", {}).get(EXTENSION)

    async def json_body(self, limit_bytes: int, timeout_s: float) -> bytes:
        """The whole body, which has to be announced as JSON, unless there is none.

        A page elsewhere can have a browser send what is announced as nothing, or as plain text.
        """
        kind = (self.header(b"content-type") or "").partition(";")[0].strip().lower()
        is_json = kind == "application/json" or kind.endswith("+json")
        if not is_json and (kind or self._announces_body()):
            raise GatewayError("unsupported_media_type", "expected content-type application/json")
        return await self.body(limit_bytes, timeout_s)

    def _announces_body(self) -> bool:
        return self.header(b"transfer-encoding") is not None or (self.header(b"content-length") or "0") != "0"

    @staticmethod
    def _too_large(limit_bytes: int) -> GatewayError:
        return GatewayError("body_too_large", f"the body is larger than {limit_bytes} bytes")


class ClientGone(Exception):  # noqa: N818 - not an error: no client is left to tell
    """The client closed the connection."""


def request_id_of(scope: Scope) -> str:
    """The client's id where it is short and plain: it comes back in headers, bodies and logs."""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            text: str = value.decode("latin-1")
            if _REQUEST_ID.fullmatch(text):
                return text
    # It has to differ, not to be a secret: asking the system for randomness costs more than all the rest.
    return f"{random.getrandbits(64):016x}"
