"""The transport to upstreams: what it keeps, what it refuses, and that a slow reader slows it."""

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import pytest
from tests.support.fake_upstream import STREAM_HEAD, FakeUpstream, Script, Wire, chunk, free_port

from pointsman.serve.processes.server import loop_factory
from pointsman.serve.upstream.connection import MalformedError
from pointsman.serve.upstream.transport import HttpTransport, NotConnectedError, Response


async def ask(transport: HttpTransport) -> Response:
    return await transport.send(b"/v1/x?a=b", [(b"x-a", b"1")], b"{}", 2.0, "POST")


@pytest.fixture
def upstream() -> Any:
    made = FakeUpstream(says(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"))
    yield made
    made.close()


def says(data: bytes, then: Callable[[Wire], None] | None = None) -> Script:
    def script(wire: Wire) -> None:
        wire.send(data)
        if then is not None:
            then(wire)

    return script


def fetch(url: str, times: int = 1) -> list[tuple[int, bytes]]:
    async def work() -> list[tuple[int, bytes]]:
        transport, found = HttpTransport(url), []
        for _ in range(times):
            response, body = await ask(transport), b""
            async with asyncio.timeout(60):
                while piece := await response.read():
                    body += piece
            response.close()
            found.append((response.status, body))
        transport.close()
        return found

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(work())


def test_a_request_arrives_as_it_was_made_and_the_connection_is_kept(upstream: FakeUpstream) -> None:
    assert fetch(upstream.url, 3) == [(200, b"ok")] * 3
    assert (upstream.connections, len(upstream.seen)) == (1, 3)
    wire = upstream.seen[0]
    assert wire.request_line == "POST /v1/x?a=b HTTP/1.1"
    assert (wire.headers["x-a"], wire.headers["content-length"], wire.body) == ("1", "2", b"{}")


@pytest.mark.parametrize(
    "end", [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokay", b"HTTP/1.1 200 OK\r\n\r\nok"]
)
def test_an_answer_on_a_kept_connection_may_come_together_with_its_end(
    upstream: FakeUpstream, end: bytes
) -> None:
    script = upstream.script

    def once(wire: Wire) -> None:
        upstream.script = says(end, Wire.finish)
        script(wire)

    upstream.script = once
    assert fetch(upstream.url, 2) == [(200, b"ok")] * 2


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nother",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok, and more",
    ],
)
def test_a_connection_with_anything_odd_is_not_used_again(upstream: FakeUpstream, data: bytes) -> None:
    upstream.script = says(data)
    assert fetch(upstream.url, 2) == [(200, b"ok")] * 2
    assert upstream.connections == 2


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (STREAM_HEAD + chunk(b"a") + chunk(b"bc") + b"0\r\n\r\n", b"abc"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx", b"x"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    ],
)
def test_bodies(upstream: FakeUpstream, data: bytes, body: bytes) -> None:
    upstream.script = says(data)
    assert fetch(upstream.url, 2)[1][1] == body
    assert upstream.connections == 1


def test_a_body_may_end_with_the_connection(upstream: FakeUpstream) -> None:
    upstream.script = says(b"HTTP/1.0 200 OK\r\n\r\nall of it", Wire.finish)
    assert fetch(upstream.url) == [(200, b"all of it")]


@pytest.mark.parametrize(
    ("data", "then", "error"),
    [
        (b"", Wire.finish, MalformedError),
        (b"", Wire.reset, ConnectionResetError),
        (b"SSH-2.0\r\n", None, MalformedError),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", Wire.finish, MalformedError),
        (STREAM_HEAD + chunk(b"a"), Wire.finish, MalformedError),
        (STREAM_HEAD + b"zz\r\n", None, MalformedError),
        (
            b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
            None,
            MalformedError,
        ),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 20_000 + b"\r\n", None, MalformedError),
        (b"HTTP/1.1 200 OK\r\na: " + b"b" * 100_000, None, MalformedError),
    ],
)
def test_what_is_broken_is_an_error(
    upstream: FakeUpstream, data: bytes, then: Callable[[Wire], None] | None, error: type[Exception]
) -> None:
    upstream.script = says(data, then)
    with pytest.raises(error):
        fetch(upstream.url)


def test_headers_of_one_name_are_joined(upstream: FakeUpstream) -> None:
    async def work() -> dict[str, str]:
        transport = HttpTransport(upstream.url)
        response = await ask(transport)
        response.close()
        transport.close()
        return response.headers

    upstream.script = says(b"HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a: 2\r\ncontent-length: 0\r\n\r\n")
    assert asyncio.run(work()) == {"x-a": "1, 2", "content-length": "0"}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a test drop the packets of a connection")
def test_kept_connections_that_died_without_a_word_are_left_for_a_fresh_one(upstream: FakeUpstream) -> None:
    async def work() -> list[int]:
        transport = HttpTransport(upstream.url)
        for response in await asyncio.gather(*(ask(transport) for _ in range(3))):
            assert await response.read() == b"ok"
            assert await response.read() == b""
            response.close()
        upstream.vanish()
        async with asyncio.timeout(60):
            found = [await ask(transport) for _ in range(3)]
        for response in found:
            response.close()
        transport.close()
        await asyncio.sleep(0.01)  # what was aborted is closed in the loop's next rounds
        return [response.status for response in found]

    assert asyncio.run(work()) == [200] * 3
    assert upstream.connections > 3
    assert len(upstream.seen) == 6


def test_nobody_there_is_an_error_of_its_own() -> None:
    with pytest.raises(NotConnectedError):
        fetch(f"http://127.0.0.1:{free_port()}/v1")


def test_a_reader_that_waits_stops_the_upstream(upstream: FakeUpstream) -> None:
    sent: list[int] = []

    def script(wire: Wire) -> None:
        wire.send(STREAM_HEAD)
        for _ in range(2000):
            wire.send(chunk(b"x" * 65536))
            sent.append(65536)
        wire.send(b"0\r\n\r\n")

    async def work() -> int:
        transport = HttpTransport(upstream.url)
        response = await ask(transport)
        before = -1
        # Until nothing more is taken: what the kernel holds is full as well.
        while before != len(sent):
            before = len(sent)
            await asyncio.sleep(0.5)
        size = 0
        while piece := await response.read():
            size += len(piece)
        response.close()
        transport.close()
        return size

    upstream.script = script
    assert asyncio.run(work()) == 2000 * 65536
