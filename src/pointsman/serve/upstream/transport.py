"""Requests to one upstream over HTTP/1.1 connections that are kept.

A client for everything passes a stream through five layers and reads its own address anew for each request;
that cost more than all the rest of a relay. This one has what a relay needs: no redirects, no cookies, no
proxies, no decoding. httpx says what an address means and which certificates count.
"""

import asyncio
import errno
import os
import socket
import ssl
import time
import zlib
from collections import deque
from collections.abc import Coroutine, Iterable
from typing import Any, Protocol

import httpx

from pointsman.serve.upstream.connection import Connection

Headers = Iterable[tuple[bytes, bytes]]

_KEEP_S = 30.0
_KEEP_MOST = 256
_ANY_ZLIB = 47
"""zlib's word for a head of gzip or of zlib, whichever is there."""
_PIECE_BYTES = 2**18


_STALE_S = 5.0
"""A kept connection that breaks this soon after a request was dead before: no answer has begun."""
_NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})


class NotConnectedError(ConnectionError):
    """There is no connection, so nothing was sent; the message says why, without an address."""


class UnreadableBodyError(ConnectionError):
    """A body that is not packed as its head says."""


class OutOfDescriptorsError(OSError):
    """This process can open no more connections; the upstream has no part in that."""


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
        is_packed = self.headers.get("content-encoding", "").lower() in ("gzip", "x-gzip", "deflate")
        # It was not asked for, and some send it nevertheless.
        self._unpacker = zlib.decompressobj(_ANY_ZLIB) if is_packed else None

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
        return self._connection.read() if self._unpacker is None else self._unpacked()

    async def _unpacked(self) -> bytes:
        """The same of a body that came packed, a bounded piece at a time."""
        assert self._connection is not None
        assert self._unpacker is not None
        try:
            while not self._unpacker.eof:
                packed = self._unpacker.unconsumed_tail or await self._connection.read()
                data = self._unpacker.decompress(packed, _PIECE_BYTES)
                if data:
                    return data
                if not packed:
                    raise UnreadableBodyError("the packed body ended too early")
        except zlib.error:
            raise UnreadableBodyError("the body is not packed as it says") from None
        while await self._connection.read():
            pass
        return b""

    def close(self) -> None:
        """Keep the connection if the body was read to its end, and close it if not."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._transport.give_back(connection)


class Transport(Protocol):
    """What an upstream needs of the way to its address; tests pass one of their own."""

    async def send(
        self, target: bytes, headers: Headers, body: bytes, connect_timeout_s: float, method: str
    ) -> Response:
        """Send a request and return the head of its answer; see `HttpTransport.send` for the errors."""
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

    async def send(
        self, target: bytes, headers: Headers, body: bytes, connect_timeout_s: float, method: str
    ) -> Response:
        """Send a request and wait for the head of its answer, for as long as the caller likes.

        Args:
            target: path and query, as they stand in the request.
            headers: all but `host` and `content-length`.

        Raises:
            NotConnectedError: no connection in that time, or none at all.
            OutOfDescriptorsError: no connection can be opened here.
            MalformedError: what came is no HTTP/1.1, or ended too early.
            ConnectionError: the connection broke.
        """
        lines = [method.encode() + b" " + target + b" HTTP/1.1", self._host_line]
        lines += [name + b": " + value for name, value in headers]
        lines += [b"content-length: %d" % len(body), b"", body]
        data = b"\r\n".join(lines)
        kept = self._kept()
        if kept is not None and await self._sent_on_kept(kept, data):
            return Response(self, kept)
        connection = await self._connect(connect_timeout_s)
        try:
            await connection.send(data)
        except BaseException:
            connection.abort()
            raise
        return Response(self, connection)

    async def _sent_on_kept(self, connection: Connection, data: bytes) -> bool:
        """Whether a kept connection brought the head of an answer; False where it was dead before."""
        begun = time.monotonic()
        connection.expect_acknowledgement(_STALE_S / 2)
        try:
            await connection.send(data)
        except BaseException as error:
            connection.abort()
            is_silent = isinstance(error, OSError) and not connection.has_spoken
            if not is_silent or time.monotonic() - begun > _STALE_S:
                raise
            # The others are as old, and went the same way.
            while self._idle:
                self._idle.pop().abort()
            return False
        connection.expect_acknowledgement(0.0)
        return True

    def close(self) -> None:
        """Close the idle connections; the others close when their answers do."""
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
            if error.errno in _NO_DESCRIPTORS or _has_no_descriptor():
                raise OutOfDescriptorsError(error.errno, "no connection can be opened here") from None
            raise NotConnectedError(_why(error)) from None
        return made


def _has_no_descriptor() -> bool:
    """Whether no file can be opened: to look up a name fails then, too, with an error of its own."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return True
    return False


def _why(error: OSError) -> str:
    """Why there is no connection, in words that hold no address."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {(error.reason or 'the handshake failed').replace('_', ' ').lower()}"
    if isinstance(error, socket.gaierror):
        return f"DNS: {error.strerror}"
    if isinstance(error, TimeoutError):
        return "no connection in time"
    return os.strerror(error.errno) if error.errno else "no connection"
