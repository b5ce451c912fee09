"""HTTP/1.1 as the harness speaks it: requests as bytes, answers with the time of every piece.

Raw sockets and a C parser: a full client would be the bottleneck long before the gateway is.
"""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httptools


@dataclass(slots=True)
class Answer:
    """One answer, or as much of it as came.

    Attributes:
        status: 0 where not even a head came.
        is_whole: the message ended as it said it would; a cut one is a dropped request.
        sent_at, head_at, ended_at: `time.monotonic()` (uvloop counts in milliseconds only); 0.0 where
            it did not happen.
        pieces: (time, bytes) of every piece of the body, in order.
    """

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    is_whole: bool = False
    sent_at: float = 0.0
    head_at: float = 0.0
    ended_at: float = 0.0
    pieces: list[tuple[float, bytes]] = field(default_factory=list)

    @property
    def body(self) -> bytes:
        """The whole body."""
        return b"".join(data for _, data in self.pieces)

    def json(self) -> Any:
        """The body's value."""
        return json.loads(self.body)

    def code(self) -> str:
        """The code of an error body, or an empty string."""
        try:
            return str(self.json()["error"]["code"])
        except (ValueError, KeyError, TypeError):
            return ""


class Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.is_open = False
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Future[Answer] | None = None
        self._answer = Answer()
        self._parser: httptools.HttpResponseParser | None = None
        self._has_body = True
        self.closed: asyncio.Future[float] = self._loop.create_future()

    def ask(self, request: bytes) -> asyncio.Future[Answer]:
        """Send a request; the future never fails: a connection that ends gives what came until then."""
        assert self._waiting is None
        self._waiting = self._loop.create_future()
        self._answer = Answer(sent_at=time.monotonic())
        self._has_body = not request.startswith(b"HEAD ")
        self._parser = httptools.HttpResponseParser(self)
        if self.transport is None or not self.is_open:
            self._finish()
        else:
            self.transport.write(request)
        return self._waiting or _done(self._answer, self._loop)

    def close(self) -> None:
        """Close with FIN."""
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        """Close with RST where something is unread."""
        if self.transport is not None:
            self.transport.abort()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        if not self.closed.done():
            self.closed.set_result(time.monotonic())
        self._finish()

    # What the parser calls.

    def on_status(self, _: bytes) -> None:
        return

    def on_header(self, name: bytes, value: bytes) -> None:
        self._answer.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        self._answer.status = self._parser.get_status_code()
        self._answer.head_at = time.monotonic()
        if not self._has_body:
            self._answer.is_whole = True
            self._finish()

    def on_body(self, data: bytes) -> None:
        self._answer.pieces.append((time.monotonic(), data))

    def on_message_complete(self) -> None:
        if self._answer.status >= 200:
            self._answer.is_whole = True
            self._finish()

    def _finish(self) -> None:
        waiting, self._waiting = self._waiting, None
        self._answer.ended_at = time.monotonic()
        if waiting is not None and not waiting.done():
            waiting.set_result(self._answer)


def _done(answer: Answer, loop: asyncio.AbstractEventLoop) -> "asyncio.Future[Answer]":
    future: asyncio.Future[Answer] = loop.create_future()
    future.set_result(answer)
    return future


async def connect(port: int, host: str = "127.0.0.1", timeout_s: float = 10.0) -> Connection:
    """A connection. Raises OSError where it is refused."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(timeout_s):
        _, made = await loop.create_connection(Connection, host, port)
    return made


async def ask(port: int, data: bytes, timeout_s: float = 60.0) -> Answer:
    """One request on a connection of its own; a timeout gives what came until then, not whole."""
    connection = await connect(port)
    try:
        async with asyncio.timeout(timeout_s):
            return await connection.ask(data)
    except TimeoutError:
        return connection._answer
    finally:
        connection.close()


def request(
    path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None, method: str = "POST"
) -> bytes:
    """The bytes of a request; a body is JSON unless a header says otherwise."""
    lines = {"host": "localhost"}
    if body is not None:
        lines |= {"content-type": "application/json", "content-length": str(len(body))}
    lines |= dict(headers or {})
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + (body or b"")


def get(path: str, headers: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a GET."""
    return request(path, None, headers, "GET")


def predict(text: str | list[str], headers: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a classification."""
    return request("/predict", json.dumps({"query": text}).encode(), headers)


def chat(text: str, headers: Mapping[str, str] | None = None, **fields: Any) -> bytes:
    """The bytes of a chat; `fields` overrule what it says otherwise."""
    body = {"model": "auto", "messages": [{"role": "user", "content": text}], **fields}
    return request("/v1/chat/completions", json.dumps(body).encode(), headers)
