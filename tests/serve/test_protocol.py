"""What goes out on a connection, write by write."""

import asyncio
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.support.fake_upstream import DONE, END, STREAM_HEAD, FakeUpstream, chunk, delta
from tests.support.fake_upstream import Wire as Asked
from tests.support.running import Running, post_head, running, settings_for
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pointsman.serve.edge.protocol import GatheringTransport


@pytest.fixture(scope="module")
def broken(artifact: Path) -> Iterator[Running]:
    """A gateway that waits for a body only shortly."""
    with running(settings_for(artifact, limits={"body_timeout_s": 0.1})) as made:
        yield made


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


BODY = b'{"query": "plan"}'
PREDICT = post_head("/predict", len(BODY))
CHUNKED = PREDICT.replace(b"content-length: %d" % len(BODY), b"transfer-encoding: chunked")


def all_of(gateway: Running, sent: bytes) -> bytes:
    """What comes back until the gateway closes the connection."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as client:
        client.sendall(sent)
        return b"".join(iter(lambda: client.recv(65536), b""))


@pytest.mark.parametrize(
    ("sent", "statuses", "code"),
    [
        (CHUNKED + b"zz\r\n" + BODY, [400], b"invalid_request"),
        (CHUNKED + b"-1\r\n" + BODY, [400], b"invalid_request"),
        (CHUNKED + b"5\r\nabcdefgh", [400], b"invalid_request"),
        (CHUNKED.replace(b"chunked", b"xchunked") + BODY, [400], b"invalid_request"),
        (PREDICT.replace(b"17", b"9") + BODY, [400], b"invalid_json"),
        (PREDICT.replace(b"content-length: 17", b"x: y") + BODY, [400], b"invalid_request"),
        (PREDICT + BODY + b"\x16\x03\x01 no HTTP\r\n", [200], b""),
        ((PREDICT + BODY) * 2 + b"no HTTP\r\n\r\n", [200, 200], b""),
        (PREDICT + BODY + CHUNKED + b"zz\r\n", [200, 408], b"request_timeout"),
    ],
)
def test_what_came_whole_is_answered_before_what_is_broken(
    broken: Running, sent: bytes, statuses: list[int], code: bytes
) -> None:
    got = all_of(broken, sent)
    assert [int(status) for status in re.findall(rb"HTTP/1.1 (\d+) ", got)] == statuses
    assert code in got
    assert b"connection: close" in got


@pytest.mark.parametrize("step", ["on_url", "on_header", "on_headers_complete", "on_body"])
def test_a_request_that_there_is_no_memory_to_take_in_is_not_called_broken(
    broken: Running, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(HttpToolsProtocol, step, fail)
    got = all_of(broken, PREDICT + BODY)
    assert got.startswith(b"HTTP/1.1 503 ")
    assert b"x-should-retry: true" in got


@pytest.mark.parametrize("path", [b"http://[::1", "/prédict".encode(), b"/pre\xffdict"])
def test_a_path_that_cannot_be_parsed_is_the_clients_error(broken: Running, path: bytes) -> None:
    got = all_of(broken, PREDICT.replace(b"/predict", path, 1) + BODY)
    assert re.match(rb"HTTP/1.1 4\d\d ", got)


def test_a_stream_is_not_cut_for_the_half_of_a_head_that_follows(
    both: Callable[..., Running], cloud: FakeUpstream
) -> None:
    go = threading.Event()

    def script(wire: Asked) -> None:
        wire.send(STREAM_HEAD + chunk(delta("one")))
        assert go.wait(60)
        wire.send(chunk(delta("two")) + chunk(DONE) + END)

    cloud.script = script
    # The first head has as long: shorter, and a busy machine would not have sent it by then.
    gateway = both(limits={"header_timeout_s": 1.0})
    body = b'{"model": "cloud", "stream": true, "messages": [{"role": "user", "content": "x"}]}'
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as client:
        client.sendall(post_head("/v1/chat/completions", len(body)) + body + b"GET /liv")
        got = client.recv(65536)
        # Time for the limit of the second head to pass; where it is too short, the test only sees less.
        time.sleep(1.5)
        go.set()
        while piece := client.recv(65536):
            got += piece
    assert b"two" in got
    assert b"[DONE]" in got
