"""What goes out on a connection, write by write."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from pointsman.serve.edge.protocol import GatheringTransport

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


class Wire(asyncio.Transport):
    """Keeps every write by itself."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.is_closed = False

    def write(self, data: Any) -> None:
        assert not self.is_closed
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.is_closed = True

    def get_write_buffer_size(self) -> int:
        return 0


def written(*turns: list[bytes | None]) -> Wire:
    """The writes that come of some in each turn of an event loop; None closes."""

    async def play() -> Wire:
        wire = Wire()
        transport = GatheringTransport(wire, asyncio.get_running_loop(), 60.0)
        for turn in turns:
            for data in turn:
                transport.close() if data is None else transport.write(data)
            await asyncio.sleep(0)
        return wire

    return asyncio.run(play())


def test_a_head_leaves_with_the_body_that_follows() -> None:
    assert written([HEAD, b"one", b"two"]).writes == [HEAD + b"one", b"two"]


def test_a_head_without_a_body_leaves_when_the_turn_ends() -> None:
    assert written([HEAD], [b"one"], [HEAD, HEAD], [b"two"]).writes == [HEAD, b"one", HEAD + HEAD, b"two"]


def test_a_head_leaves_before_the_connection_closes() -> None:
    wire = written([HEAD, None])
    assert (wire.writes, wire.is_closed) == ([HEAD], True)


class SlowClient(Wire):
    """Takes what it is told to take; the rest waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting, self.is_aborted = 0, False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        super().write(data)
        self.waiting += len(data)

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def abort(self) -> None:
        self.is_aborted = True


class Timers:
    """An event loop's timers, which ring when a test says so."""

    def __init__(self) -> None:
        self.set: list[tuple[float, Callable[[], None]]] = []

    def call_later(self, delay: float, callback: Callable[..., None], *args: object) -> object:
        self.set.append((delay, partial(callback, *args)))
        return object()

    def ring(self) -> None:
        ((delay, callback),) = self.set
        assert delay == 3.0
        self.set.clear()
        callback()


def test_a_client_is_waited_for_while_it_takes_something_and_cut_off_when_it_takes_nothing() -> None:
    wire, timers = SlowClient(), Timers()
    transport = GatheringTransport(wire, timers, 3.0)  # type: ignore[arg-type]
    transport.write(b"x" * 1000)
    for _ in range(20):
        wire.waiting -= 1
        timers.ring()
        transport.write(b"y")
    wire.waiting = 0
    timers.ring()
    assert not timers.set
    transport.write(b"z")
    assert not wire.is_aborted
    timers.ring()
    assert wire.is_aborted
