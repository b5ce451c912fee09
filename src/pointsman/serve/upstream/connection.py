"""One HTTP/1.1 connection to an upstream: a C parser on asyncio's protocol, with back-pressure.

It knows nothing of what is asked, and of other upstreams.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import cast

import httptools

_MAX_HEAD_BYTES = 65_536
_HIGH_WATER = 262_144
"""Bytes held for a slow client above which the upstream is not read until the client has taken them."""


class MalformedError(ConnectionError):
    """What came is no HTTP/1.1, or ended too early."""


class Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.is_open = False
        self.idle_since = 0.0
        self._clear()

    def _clear(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self._head_bytes = 0
        self._header_bytes = 0
        self._has_head = False
        self._is_complete = False
        self._keeps = False
        # Made anew when it is raised: one that is kept keeps the frames that it went through.
        self._error: Callable[[], ConnectionError] | None = None
        self._pieces: list[bytes] = []
        self._held = 0
        self._is_paused = False

    @property
    def is_reusable(self) -> bool:
        """Whether the next request may use it: the answer was read whole, and nothing is left over."""
        return self.is_open and self._is_complete and self._keeps and not self._pieces

    @property
    def ends_with_connection(self) -> bool:
        """Whether only the connection's end says where the body ends."""
        return "content-length" not in self.headers and "transfer-encoding" not in self.headers

    @property
    def is_unread(self) -> bool:
        """Whether something of the body is held."""
        return bool(self._pieces)

    def rest(self) -> None:
        """Wait for the next request; anything that comes until then closes it."""
        self._parser = None
        self._clear()
        self.idle_since = time.monotonic()

    @property
    def has_spoken(self) -> bool:
        """Whether a byte of the answer came."""
        return self._head_bytes > 0 or self._has_head

    def expect_acknowledgement(self, seconds: float) -> None:
        """Break after this many seconds in which the other machine took nothing; 0 waits as the system does.

        What a firewall forgot is dropped in silence, and only a timeout of minutes would say so.
        """
        if self._transport is None or not hasattr(socket, "TCP_USER_TIMEOUT"):
            return
        # The answer may have come together with the connection's end, and the socket is closed then.
        with contextlib.suppress(OSError, ValueError):
            made = self._transport.get_extra_info("socket")
            if made is not None:
                made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * seconds))

    def abort(self) -> None:
        """Close at once."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    async def send(self, data: bytes) -> None:
        """Send a request and wait for the head of its answer."""
        assert self._transport is not None
        self._parser = httptools.HttpResponseParser(self)
        self._transport.write(data)
        while not self._has_head:
            if self._error is not None:
                raise self._error()
            await self._news()

    async def read(self) -> bytes:
        """What has come of the body since the last call, at least a byte; nothing at its end."""
        while not self._pieces:
            if self._is_complete:
                return b""
            if self._error is not None:
                raise self._error()
            await self._news()
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._held = 0
        if self._is_paused and self._transport is not None and self.is_open:
            self._is_paused = False
            self._transport.resume_reading()
        return data

    def _news(self) -> asyncio.Future[None]:
        """Done when anything has happened."""
        self._waiter = self._loop.create_future()
        return self._waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, kind: type[ConnectionError], why: str) -> None:
        self._keeps = False
        if not self._is_complete and self._error is None:
            self._error = partial(kind, why)
        self.abort()
        self._wake()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        """Let the parser read, and stop the upstream where too much is held."""
        if self._parser is None:
            self.abort()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(MalformedError, "this is not HTTP/1.1")
            return
        if not self._has_head:
            self._head_bytes += len(data)
            if self._head_bytes > _MAX_HEAD_BYTES:
                self._fail(MalformedError, "the head is too long")
                return
        if self._held > _HIGH_WATER and not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over: the body's end, where nothing else says so, or a failure."""
        self.is_open = False
        if self._parser is None:
            return
        if self._has_head and exc is None and self.ends_with_connection:
            self._is_complete = True
            self._wake()
        elif exc is not None:
            self._fail(ConnectionResetError, "the connection broke")
        else:
            self._fail(MalformedError, "the connection ended in the middle of an answer")

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Another answer begins, although one request was sent."""
        if self._is_complete:
            self._keeps = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; those after the body, trailers, are left out."""
        if self._has_head:
            return
        self._header_bytes += len(name) + len(value) + 4
        if self._header_bytes > _MAX_HEAD_BYTES:
            raise MalformedError("the head is too long")
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        """The head is there, unless it is that of an interim answer."""
        assert self._parser is not None
        if self._has_head:
            return
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            self.headers.clear()
            return
        self.status = status
        self._keeps = self._parser.should_keep_alive()
        self._has_head = True

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        if not self._is_complete:
            self._pieces.append(data)
            self._held += len(data)

    def on_message_complete(self) -> None:
        """The body's end."""
        if self._has_head:
            self._is_complete = True
