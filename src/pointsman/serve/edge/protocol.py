"""HTTP/1.1 by uvicorn, with what it leaves open: time and size limits on the head of a request.

Without them one header line a second keeps a connection for ever, and a head may be of any size.
"""

import asyncio
import secrets
import sys
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pointsman.serve.edge.http import EXTENSION
from pointsman.serve.failures import GatewayError, as_gateway_error, error_body, error_headers
from pointsman.serve.settings import LimitSettings


class GatheringTransport(asyncio.Transport):
    """A connection on which the head of an answer waits for its body, if that follows in the same turn.

    uvicorn writes them one after the other: two system calls, two packets, and a client that wakes up twice.
    """

    def __init__(
        self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, write_timeout_s: float
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._head = b""
        self._write_timeout_s = write_timeout_s
        self._written = 0
        self._watch: asyncio.TimerHandle | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write a piece, after the head if that is still here; keep a head back until the turn ends.

        A client that takes nothing for too long is cut off, and what it did not take is let go.
        """
        if self._head:
            data, self._head = self._head + data, b""
        elif isinstance(data, bytes) and data.startswith(b"HTTP/1.1 "):
            self._head = data
            self._loop.call_soon(self._flush)
            return
        self._send(data)

    def close(self) -> None:
        """Write what is here, then close."""
        self._flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """Whether it is closing or closed."""
        return self._transport.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What is known about the connection."""
        return self._transport.get_extra_info(name, default)

    def pause_reading(self) -> None:
        """Read nothing for now."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        self._transport.resume_reading()

    def _flush(self) -> None:
        if self._head:
            data, self._head = self._head, b""
            self._send(data)

    def _send(self, data: bytes | bytearray | memoryview) -> None:
        self._transport.write(data)
        self._written += len(data)
        if self._watch is None and self._transport.get_write_buffer_size():
            self._look_again()

    def _look_again(self) -> None:
        taken = self._written - self._transport.get_write_buffer_size()
        self._watch = self._loop.call_later(self._write_timeout_s, self._look, taken)

    def _look(self, taken_before: int) -> None:
        """Cut off a client that took nothing since the last look; look again while something waits for it."""
        self._watch = None
        waiting = self._transport.get_write_buffer_size()
        if not waiting:
            return
        if self._written - waiting <= taken_before:
            self._transport.abort()
        else:
            self._look_again()


class BoundedProtocol(HttpToolsProtocol):
    """A connection whose heads have to arrive in time and stay small.

    Attributes:
        limits: of every connection; uvicorn makes each from the class alone, so that they stand there.
    """

    limits: LimitSettings

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock: a connection that never speaks is closed, too."""
        super().connection_made(GatheringTransport(transport, self.loop, self.limits.write_timeout_s))
        self._head_size = 0
        self._is_in_head = self._is_over = False
        self._head_timer: asyncio.TimerHandle | None = self.loop.call_later(
            self.limits.header_timeout_s, self._too_late
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser; a head that is not complete yet is measured."""
        if self._is_over:
            return
        super().data_received(data)
        if self.transport.is_closing():
            return
        if not self._is_in_head:
            self._stop_timer()
            self._head_size = 0
            return
        self._head_size += len(data)
        if self._head_size > self.limits.header_bytes + 16 * self.limits.header_count + 8192:
            self._refuse(GatewayError("headers_too_large", "too many headers, or too long ones"))
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(self.limits.header_timeout_s, self._too_late)

    def on_message_begin(self) -> None:
        """A head begins."""
        self._is_in_head = True
        super().on_message_begin()
        self._extension: dict[object, object] = {
            "is_gone": self.transport.is_closing,
            "is_whole": False,
        }
        self.scope["extensions"] = {EXTENSION: self._extension}

    def on_headers_complete(self) -> None:
        """A head is complete."""
        self._is_in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """All of a request is there."""
        self._extension["is_whole"] = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP is answered in the one shape of errors; so is what no memory is left for."""
        error = sys.exception()
        if error is not None and isinstance(error.__context__, MemoryError):
            self._refuse(as_gateway_error(error.__context__))
        else:  # also a URL that cannot be parsed, which is an error of the parser's callback, too
            self._refuse(GatewayError("invalid_request", "this is not HTTP/1.1 as it is understood here"))

    def _too_late(self) -> None:
        self._head_timer = None
        if self._is_in_head:
            self._refuse(GatewayError("request_timeout", "the request's headers did not arrive in time"))
        elif not self.transport.is_closing():
            self.transport.close()

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, error: GatewayError) -> None:
        """Answer what cannot be understood, and close; what was asked whole before it is answered first."""
        if self.transport.is_closing():
            return
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            is_broken_body = cycle.more_body and not cycle.response_started and not self.pipeline
            if not is_broken_body:
                cycle.keep_alive = False
                self._is_over = True
                return
        request_id = secrets.token_hex(8)
        body, status = error_body(error, request_id), HTTPStatus(error.kind.status)
        headers = {**dict(error_headers(error)), b"connection": b"close"}
        lines = "".join(f"{name.decode()}: {value.decode()}\r\n" for name, value in headers.items())
        head = (
            f"HTTP/1.1 {status:d} {status.phrase}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nx-request-id: {request_id}\r\n{lines}\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()


def bounded_protocol(limits: LimitSettings) -> type[HttpToolsProtocol]:
    """The protocol class for these limits."""
    return type("BoundedProtocol", (BoundedProtocol,), {"limits": limits})
