"""An upstream on raw sockets, scripted per request: every way to fail that a network knows.

A script is a coroutine that gets the request and the connection and does what it likes.
"""

import asyncio
import contextlib
import ctypes
import secrets
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Self

from tests.support.openai_messages import (
    DONE,
    END,
    STREAM_HEAD,
    RecordedRequest,
    chunk,
    completion,
    delta,
    whole,
)

_SO_ATTACH_FILTER = 26
_OWN_PORTS = range(20_000, 32_000)


class Call(RecordedRequest):
    """One request as it arrived, and the raw connection to answer it on."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        super().__init__(head)
        self._reader = reader
        self._writer = writer
        self.at = time.monotonic()
        self.is_ended = False

    async def send(self, data: bytes) -> None:
        """Send, and wait while the other side is slow."""
        self._writer.write(data)
        await self._writer.drain()

    def reset(self) -> None:
        """Close with RST."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.is_ended = True
        self._writer.transport.abort()

    def finish(self) -> None:
        """Close with FIN: what was sent arrives."""
        self.is_ended = True
        self._writer.close()

    async def wait_for_close(self, most_s: float = 60.0) -> bool:
        """Whether the other side closed in that time."""
        self.is_ended = True
        try:
            async with asyncio.timeout(most_s):
                return await self._reader.read(1) == b""
        except ConnectionError:
            return True
        except TimeoutError:
            return False


Script = Callable[[Call], Awaitable[None]]


class FaultUpstream:
    """Listens on loopback; keeps every request that it got."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.seen: list[Call] = []
        self.connections = 0
        self.most_open = 0
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """What goes into `upstreams.*.url`."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def open(self) -> int:
        """Connections that stand now."""
        return len(self._open)

    def vanish(self) -> None:
        """Let the connections that stand take no packet more, as where a firewall forgot them; Linux only."""
        for writer in self._open:
            drop_packets(writer.get_extra_info("socket"))

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=4096)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(writer)
        self.connections += 1
        self.most_open = max(self.most_open, len(self._open))
        try:
            while call := await self._read(reader, writer):
                self.seen.append(call)
                await self.script(call)
                if call.is_ended:
                    return
        except (OSError, RuntimeError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(writer)
            self._tasks.discard(task)
            with contextlib.suppress(OSError, RuntimeError):
                writer.close()

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Call | None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        call = Call(reader, writer, head[:-4])
        call.body = await reader.readexactly(call.length)
        return call


def answers(body: bytes | None = None, status: int = 200, headers: str = "") -> Script:
    """A whole answer; without a body a small completion."""
    data = whole(completion("fine") if body is None else body, status, headers)

    async def script(call: Call) -> None:
        await call.send(data)

    return script


def streams(pieces: Sequence[bytes], gap_s: float = 0.0) -> Script:
    """A whole stream of these pieces, one chunk each, `gap_s` apart."""

    async def script(call: Call) -> None:
        await call.send(STREAM_HEAD)
        for piece in pieces:
            if gap_s:
                await asyncio.sleep(gap_s)
            await call.send(chunk(piece))
        await call.send(END)

    return script


def events(n: int, label: str = "w") -> list[bytes]:
    """A stream of `n` events and its end."""
    return [*(delta(f"{label}{index} ") for index in range(n)), DONE]


def drop_packets(connection: socket.socket) -> None:
    """Have the kernel drop, without a word, whatever comes for a connection."""
    program = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # return 0
    filter_ = struct.pack("HL", 1, ctypes.addressof(program))
    connection.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filter_)


async def resets(call: Call) -> None:
    """RST without a word."""
    call.reset()


async def hangs(call: Call) -> None:
    """Says nothing until the other side closes."""
    await call.wait_for_close()


def free_port() -> int:
    """A port without a listener, below those that a system gives to outgoing connections by itself."""
    for _ in range(100):
        with (
            contextlib.suppress(OSError),
            socket.create_server(("127.0.0.1", secrets.choice(_OWN_PORTS))) as made,
        ):
            return int(made.getsockname()[1])
    raise RuntimeError("no port is free")
