"""B, from the first byte on: streams that break, stall, or are read slowly or not at all."""

import asyncio
import socket
import time

from tests.reliability.suite import check
from tests.support import wire
from tests.support.fault_upstream import Call, Script, events
from tests.support.harness.bench import Bench
from tests.support.harness.fronts import (
    BOTH_WAYS,
    NEVER_OPEN,
    Front,
    at_once,
    before_error,
    fronting,
    has_error_event,
)
from tests.support.harness.measure import Finding, at_most, every, none, noted, within
from tests.support.openai_messages import DONE, END, STREAM_HEAD, chunk, delta

TESTS = "tests/serve/test_broken_streams.py"
WAYS = ("fin", "rst", "stall")


def cut_after(pieces: list[bytes], half: bytes, way: str) -> Script:
    """These events, half of another, and then the end in one of three ways."""

    async def script(call: Call) -> None:
        await call.send(STREAM_HEAD + b"".join(chunk(piece) for piece in pieces))
        if half:
            await call.send(chunk(half))
        if way == "rst":
            await asyncio.sleep(0.02)
            call.reset()
        elif way == "fin":
            call.finish()
        else:
            await call.wait_for_close()

    return script


@check(
    "B3",
    "A stream that breaks ends with complete events and one error event, and no text is sent twice",
    reference="Envoy AI Gateway cuts silently; LiteLLM tells it in three shapes",
    tests=TESTS,
)
async def cuts(bench: Bench) -> Finding:
    """Every cut point of a 60-event stream, whole and in mid-event, by FIN, RST and stall."""
    pieces = events(60)
    step = bench.pick(12, 2, 1)
    cases = [
        (k, half, way)
        for k in range(1, len(pieces), step)
        for half in (0, 1, len(pieces[k]) // 2)
        for way in WAYS
    ]
    upstream = {"idle_timeout_s": 0.5, "breaker_failures": NEVER_OPEN}
    exact = told = finished = 0
    whole = b"".join(pieces)
    async with fronting(bench, upstream=upstream, routing={"fallback": BOTH_WAYS}) as front:

        async def one(index: int) -> tuple[wire.Answer, int, str]:
            k, half, way = cases[index]
            name = f"cut.{index}"
            scripts[name] = cut_after(pieces[:k], pieces[k][:half], way)
            return await front.ask(wire.chat("q", {"x-request-id": name}, model="cloud", stream=True)), k, way

        scripts: dict[str, Script] = {}

        async def by_name(call: Call) -> None:
            await scripts[call.headers["x-request-id"]](call)

        front.cloud.script = by_name
        for answer, k, way in await at_once(one, range(len(cases)), 16):
            said = before_error(answer.body)
            events_said = said.count(b"\n\n")
            # What the kernel still delivers after a reset is its choice; it is whole and in order.
            is_exact = (
                said == b"".join(pieces[:k]) if way != "rst" else said == b"".join(pieces[:events_said])
            )
            exact += is_exact and whole.startswith(said)
            told += answer.is_whole and has_error_event(answer.body)
            finished += DONE in answer.body
        again = len(front.local.seen)
    n = len(cases)
    return Finding(
        (
            every("exactly the upstream's whole events", exact, n),
            every("one error event at the end", told, n),
            none("told as complete", finished, n),
            none("said again by the other upstream", again, n),
        )
    )


@check(
    "B4",
    "A stream passes byte for byte, whatever is in it and however it is cut into packets",
    reference="LiteLLM fails on a malformed line",
    tests="tests/serve/test_chat.py",
)
async def verbatim(bench: Bench) -> Finding:
    """Malformed lines, comments, CRLF, multi-byte letters; split at random places."""
    n = bench.pick(40, 200, 500)
    draw = bench.random("B4")
    odd = [
        b"data: {not json\n\n",
        b": a comment\n\n",
        b"event: x\r\ndata: {}\r\n\r\n",
        b"data:[1]\n\n",
        b"garbage without a colon\n\n",
        'data: {"x": "\u00fc\U0001f600"}\n\n'.encode(),
        b"\n\n",
        b"id: 7\nretry: 10\ndata: a\ndata: b\n\n",
        delta("x"),
        b"data: \r\r",
    ]
    bodies = [b"".join(draw.choice(odd) for _ in range(12)) + DONE for _ in range(n)]
    cut: list[list[bytes]] = []
    for body in bodies:
        places = sorted(draw.sample(range(1, len(body)), min(20, len(body) - 1)))
        cut.append([body[a:b] for a, b in zip([0, *places], [*places, len(body)], strict=True)])

    async def script(call: Call) -> None:
        await call.send(STREAM_HEAD)
        for piece in cut[int(call.text)]:
            await call.send(chunk(piece))
            await asyncio.sleep(0)
        await call.send(END)

    async with fronting(bench, cloud=script) as front:
        found = await at_once(
            lambda i: front.ask(wire.chat(str(i), model="cloud", stream=True)), range(n), 16
        )
    same = sum(answer.is_whole and answer.body == body for answer, body in zip(found, bodies, strict=True))
    return Finding((every("byte-identical streams", same, n),), (bench.seed,))


async def leave(front: Front, name: str, *, streams: bool, after_bytes: int, wait_s: float) -> None:
    """Ask, wait for a number of bytes and a time, and disconnect."""
    reader, writer = await asyncio.open_connection("127.0.0.1", front.gateway.port)
    writer.write(wire.chat("q", {"x-request-id": name}, model="cloud", stream=streams))
    if after_bytes:
        await reader.readexactly(after_bytes)
    await asyncio.sleep(wait_s)
    writer.transport.abort()


@check(
    "B11",
    "When a client disconnects, its upstream call is cancelled",
    reference="plain FastAPI: in one of three phases",
    tests="tests/serve/test_disconnect.py",
)
async def leaving(bench: Bench) -> Finding:
    """Clients that leave before the answer, before the first token, and in mid-stream."""
    n = bench.pick(20, 150, 500)
    draw = bench.random("B11")
    left: dict[str, float] = {}
    took: list[float] = []

    async def script(call: Call) -> None:
        name = call.headers["x-request-id"]
        if name.startswith("mid"):
            await call.send(STREAM_HEAD + chunk(delta("x")))
        if await call.wait_for_close(10):
            took.append(1000 * (time.monotonic() - left.get(name, time.monotonic())))

    phases = (("plain", False, 0), ("first", True, 0), ("mid", True, 15))
    async with fronting(bench, cloud=script, upstream={"breaker_failures": NEVER_OPEN}) as front:
        for phase, streams, after in phases:

            async def one(
                index: int, phase: str = phase, streams: bool = streams, after: int = after
            ) -> None:
                name = f"{phase}.{index}"
                wait_s = 0.05 + draw.random() * 0.3
                await leave(front, name, streams=streams, after_bytes=after, wait_s=wait_s)
                left[name] = time.monotonic()

            await at_once(one, range(n), 25)
        settled = await front.gateway.settles()
        await asyncio.sleep(0.2)
        arrived, still_open = len(front.cloud.seen), front.cloud.open
    return Finding(
        (
            every("upstream calls that were closed", len(took), arrived),
            none("connections left", still_open, arrived),
            every("nothing in flight afterwards", settled, 1),
            within("until the upstream saw it, slowest", max(took, default=0.0), 500.0, n=arrived),
        ),
        (bench.seed,),
    )


@check("B12", "A client that reads slowly slows its upstream and uses no more memory")
async def slow_reader(bench: Bench) -> Finding:
    """A client that reads a kilobyte a second of a 200 MB stream; several of them."""
    clients, seconds = bench.pick(2, 4, 8), bench.pick(3.0, 8.0, 30.0)
    sent = [0]
    piece = chunk(b"data: " + b"x" * 16_000 + b"\n\n")

    async def script(call: Call) -> None:
        await call.send(STREAM_HEAD)
        for _ in range(200_000_000 // len(piece)):
            await call.send(piece)
            sent[0] += len(piece)

    async with fronting(bench, cloud=script, limits={"answer_bytes": 2**30}) as front:
        await front.gateway.is_alive()
        before = front.gateway.rss_mb
        loop = asyncio.get_running_loop()
        socks = []
        for _ in range(clients):
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setblocking(False)
            await loop.sock_connect(sock, ("127.0.0.1", front.gateway.port))
            await loop.sock_sendall(sock, wire.chat("q", model="cloud", stream=True))
            socks.append(sock)
        for _ in range(int(seconds)):
            for sock in socks:
                await loop.sock_recv(sock, 1024)
            await asyncio.sleep(1)
        grown = front.gateway.rss_mb - before
        alive = await front.gateway.is_alive()
        for sock in socks:
            sock.close()
        settled = await front.gateway.settles()
    return Finding(
        (
            at_most("memory", grown, 16.0, "MiB"),
            every("alive meanwhile", alive, 1),
            every("nothing in flight afterwards", settled, 1),
            noted("taken from the upstream per client", sent[0] / clients / 2**20, "MiB"),
        )
    )


@check("B15", "A connection that was left half-read is never used again", tests=TESTS)
async def poisoning(bench: Bench) -> Finding:
    """Cut streams between good ones; every body carries its request's name."""
    n = bench.pick(100, 500, 2000)

    async def script(call: Call) -> None:
        name = call.headers["x-request-id"]
        if name.startswith("cut"):
            await call.send(STREAM_HEAD + chunk(delta(f"<{name}>")) + b"ffff\r\ndata: <")
            call.reset()
        else:
            await call.send(STREAM_HEAD + chunk(delta(f"<{name}>")) + chunk(DONE) + END)

    async with fronting(bench, cloud=script, upstream={"breaker_failures": NEVER_OPEN}) as front:

        async def one(index: int) -> tuple[str, wire.Answer]:
            name = f"{'cut' if index % 2 else 'good'}-{index}"
            request = wire.chat("q", {"x-request-id": name}, model="cloud", stream=True)
            return name, await front.ask(request)

        found = await at_once(one, range(n), 16)
    mixed = sum(answer.body.count(b"<") != answer.body.count(f"<{name}>".encode()) for name, answer in found)
    good = sum(answer.body == delta(f"<{name}>") + DONE for name, answer in found if name.startswith("good"))
    return Finding((none("mixed answers", mixed, n), every("good streams whole", good, n // 2)))
