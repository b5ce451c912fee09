"""HTTP/1.1 to one upstream: asyncio's connections and a C parser, with nothing more for each piece.

A client for everything passes a stream through five layers and reads its own address anew for each request;
that cost more than all the rest of a relay. This one has what a relay needs: connections that are kept,
back-pressure, no redirects, no cookies, no proxies, no decoding. httpx says what an address means and which
certificates count.
"""

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any, cast

import httptools
import httpx

Headers = Iterable[tuple[bytes, bytes]]

_MAX_HEAD_BYTES = 65_536
_HIGH_WATER = 262_144
"""So many bytes held for a slow client, and the upstream is no longer read until the client has them."""
_KEEP_S = 30.0
_KEEP_MOST = 256


class NotConnectedError(ConnectionError):
    """There is no connection, so nothing was sent."""


class MalformedError(ConnectionError):
    """What came is no HTTP/1.1, or ended too early."""


class Response:
    """An answer whose head is there; its body is read once, and its end must be said by `close`.

    Attributes:
        status: of three digits.
        headers: by names in small letters; several of one name are joined by commas.
        ends_with_connection: neither a length nor chunks: only its end says where the body ends.
    """

    def __init__(self, transport: "HttpTransport", connection: "_Connection") -> None:
        self._transport = transport
        self._connection: _Connection | None = connection
        self.status = connection.status
        self.headers = connection.headers
        self.ends_with_connection = connection.ends_with_connection

    @property
    def is_unread(self) -> bool:
        """Whether bytes wait to be read: the reader is slower than the upstream."""
        return self._connection is not None and self._connection.is_unread

    def read(self) -> Coroutine[Any, Any, bytes]:
        """What has come of the body since the last call, at least a byte; nothing at its end.

        Raises:
            MalformedError: no HTTP/1.1 any more, or the end came too early.
            ConnectionError: the connection broke.
        """
        assert self._connection is not None
        return self._connection.read()

    def close(self) -> None:
        """Keep the connection if the body was read to its end, and close it if not."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._transport.give_back(connection)


class HttpTransport:
    """Sends requests to one address.

    Args:
        url: scheme, host and port count.
    """

    def __init__(self, url: str) -> None:
        parsed = httpx.URL(url)
        self._host = parsed.raw_host.decode("ascii").strip("[]")
        self._port = parsed.port or (443 if parsed.scheme == "https" else 80)
        self._host_line = b"host: " + parsed.netloc
        self._tls: ssl.SSLContext | None = None
        if parsed.scheme == "https":
            # The certificates are read here, once, and not while a request waits.
            self._tls = httpx.create_ssl_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        self._idle: deque[_Connection] = deque()
        self._is_closed = False

    async def post(self, target: bytes, headers: Headers, body: bytes, connect_timeout_s: float) -> Response:
        """Send a request and wait for the head of its answer, for as long as the caller likes.

        Args:
            target: path and query, as they stand in the request.
            headers: all but `host` and `content-length`.

        Raises:
            NotConnectedError: no connection in that time, or none at all.
            MalformedError: what came is no HTTP/1.1, or ended too early.
            ConnectionError: the connection broke.
        """
        lines = [b"POST " + target + b" HTTP/1.1", self._host_line]
        lines += [name + b": " + value for name, value in headers]
        lines += [b"content-length: %d" % len(body), b"", body]
        connection = self._kept() or await self._connect(connect_timeout_s)
        try:
            await connection.send(b"\r\n".join(lines))
        except BaseException:
            connection.abort()
            raise
        return Response(self, connection)

    def close(self) -> None:
        """Close the connections that nobody uses; the others close when their answers do."""
        self._is_closed = True
        while self._idle:
            self._idle.pop().abort()

    def give_back(self, connection: "_Connection") -> None:
        """Keep a connection whose answer was read to its end, and close any other."""
        if self._is_closed or not connection.is_reusable or len(self._idle) >= _KEEP_MOST:
            connection.abort()
            return
        connection.rest()
        self._idle.append(connection)

    def _kept(self) -> "_Connection | None":
        """The connection that was used last; those that waited too long are closed."""
        oldest = time.monotonic() - _KEEP_S
        while self._idle and (self._idle[0].idle_since < oldest or not self._idle[0].is_open):
            self._idle.popleft().abort()
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
        return None

    async def _connect(self, timeout_s: float) -> "_Connection":
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout_s):
                _, made = await loop.create_connection(
                    lambda: _Connection(loop), self._host, self._port, ssl=self._tls
                )
        except OSError as error:
            raise NotConnectedError(str(error)) from None
        return made


class _Connection(asyncio.Protocol):
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
            await self._wait()

    async def read(self) -> bytes:
        """What has come of the body since the last call, at least a byte; nothing at its end."""
        while not self._pieces:
            if self._is_complete:
                return b""
            if self._error is not None:
                raise self._error()
            await self._wait()
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._held = 0
        if self._is_paused and self._transport is not None and self.is_open:
            self._is_paused = False
            self._transport.resume_reading()
        return data

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

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
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self.is_open = True

    def data_received(self, data: bytes) -> None:
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
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
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
        if self._is_complete:
            # Nobody asked for a second answer.
            self._keeps = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._has_head:
            return
        self._header_bytes += len(name) + len(value) + 4
        if self._header_bytes > _MAX_HEAD_BYTES:
            raise MalformedError("the head is too long")
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
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
        if not self._is_complete:
            self._pieces.append(data)
            self._held += len(data)

    def on_message_complete(self) -> None:
        if self._has_head:
            self._is_complete = True
