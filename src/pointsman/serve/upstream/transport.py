"""Requests to one upstream over HTTP/1.1 connections that are kept.

A client for everything passes a stream through five layers and reads its own address anew for each request;
that cost more than all the rest of a relay. This one has what a relay needs: no redirects, no cookies, no
proxies, no decoding. httpx says what an address means and which certificates count.
"""

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Coroutine, Iterable
from typing import Any, Protocol

import httpx

from pointsman.serve.upstream.connection import Connection

Headers = Iterable[tuple[bytes, bytes]]

_KEEP_S = 30.0
_KEEP_MOST = 256


class NotConnectedError(ConnectionError):
    """There is no connection, so nothing was sent."""


class Response:
    """An answer whose head is there; its body is read once, and its end must be said by `close`.

    Attributes:
        status: of three digits.
        headers: by names in small letters; several of one name are joined by commas.
        ends_with_connection: neither a length nor chunks: only its end says where the body ends.
    """

    def __init__(self, transport: "HttpTransport", connection: Connection) -> None:
        self._transport = transport
        self._connection: Connection | None = connection
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


class Transport(Protocol):
    """What an upstream needs of the way to its address; tests pass one of their own."""

    async def post(self, target: bytes, headers: Headers, body: bytes, connect_timeout_s: float) -> Response:
        """Send a request and return the head of its answer; see `HttpTransport.post` for the errors."""
        ...

    def close(self) -> None:
        """Close the idle connections."""
        ...


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
        self._idle: deque[Connection] = deque()
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

    def give_back(self, connection: Connection) -> None:
        """Keep a connection whose answer was read to its end, and close any other."""
        if self._is_closed or not connection.is_reusable or len(self._idle) >= _KEEP_MOST:
            connection.abort()
            return
        connection.rest()
        self._idle.append(connection)

    def _kept(self) -> Connection | None:
        """The connection that was used last; those that waited too long are closed."""
        oldest = time.monotonic() - _KEEP_S
        while self._idle and (self._idle[0].idle_since < oldest or not self._idle[0].is_open):
            self._idle.popleft().abort()
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
        return None

    async def _connect(self, timeout_s: float) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout_s):
                _, made = await loop.create_connection(
                    lambda: Connection(loop), self._host, self._port, ssl=self._tls
                )
        except OSError as error:
            raise NotConnectedError(str(error)) from None
        return made
