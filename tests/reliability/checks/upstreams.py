"""B, before the first byte: upstreams that are gone, silent, busy or hostile, and who answers then."""

import asyncio
import gzip
import random
import time
from itertools import pairwise
from typing import Any

from tests.reliability.suite import check
from tests.support import wire
from tests.support.fault_upstream import Call, FaultUpstream, Script, answers, free_port, hangs, resets
from tests.support.harness.bench import Bench
from tests.support.harness.fronts import BOTH_WAYS, NEVER_OPEN, at_once, fronting
from tests.support.harness.measure import Finding, Measure, at_most, every, none, noted, within
from tests.support.harness.open_load import quantile
from tests.support.openai_messages import STREAM_HEAD, chunk

from pointsman.serve.upstream.breaker import Breaker

FALLBACK, LIMITS = "tests/serve/test_fallback.py", "tests/serve/test_answer_limits.py"
BREAKER = "tests/serve/test_breaker.py"
CONNECT_S = 0.5
JSON_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


@check(
    "B1",
    "Where fallback is allowed, a dead upstream costs no request",
    reference="vLLM semantic router: 95 % of 100; Envoy AI Gateway: 20 requests",
    tests=FALLBACK,
)
async def dead(bench: Bench) -> Finding:
    """Refused, reset and silent primaries in turn."""
    n = bench.pick(50, 340, 1000)
    measures: list[Measure] = []
    upstream = {"connect_timeout_s": CONNECT_S, "first_byte_timeout_s": 1.0}
    for name, script in (("refused", None), ("reset", resets), ("silent", hangs)):
        tables: dict[str, Any] = {"routing": {"fallback": BOTH_WAYS}}
        if script is None:
            tables["upstreams"] = {"cloud": {"url": f"http://127.0.0.1:{free_port()}/v1"}}
        async with fronting(bench, cloud=script, upstream=upstream, **tables) as front:
            plain = await front.chats(n // 2, 8, "local")
            found = await front.chats(n, 8)
            good = sum(a.status == 200 and a.headers.get("x-pointsman-upstream") == "local" for a in found)
            took = [1000 * (a.ended_at - a.sent_at) for a in found]
            base = [1000 * (a.ended_at - a.sent_at) for a in plain]
        measures.append(every(f"answered, {name}", good, n))
        if name != "silent":
            added = quantile(took, 0.99) - quantile(base, 0.5)
            measures.append(within(f"added p99, {name}", added, 1000 * CONNECT_S + 50, n=n))
    return Finding(tuple(measures))


@check("B2", "A call to a silent upstream ends at its timeout, and its connection is closed", tests=FALLBACK)
async def silent(bench: Bench) -> Finding:
    """A primary that never answers; the time to the first byte is a second."""
    n = bench.pick(20, 100, 500)
    upstream = {"first_byte_timeout_s": 1.0, "breaker_failures": NEVER_OPEN}
    async with fronting(bench, cloud=hangs, upstream=upstream, routing={"fallback": BOTH_WAYS}) as front:
        found = await front.chats(n, n)
        await asyncio.sleep(0.3)
        left = front.cloud.open
    good = sum(a.status == 200 for a in found)
    slowest = max(a.ended_at - a.sent_at for a in found)
    return Finding(
        (
            every("answered by the other", good, n),
            none("sockets left at the silent one", left, n),
            within("slowest", slowest, 1.3, "s", n),
        )
    )


@check("B5", "An upstream that sends Retry-After is not called before that time", tests=FALLBACK)
async def busy(bench: Bench) -> Finding:
    """429 with Retry-After: 1, and requests all along."""
    n, rest_s = bench.pick(60, 250, 500), 1.0
    script = answers(b"{}", 429, "retry-after: 1\r\n")
    async with fronting(bench, cloud=script, routing={"fallback": BOTH_WAYS}) as front:
        # One after the other: nothing is on its way when a 429 comes.
        found = []
        for index in range(n):
            found.append(await front.ask(wire.chat(f"q{index}", model="cloud")))
            await asyncio.sleep(0.01)
        times = [call.at for call in front.cloud.seen]
    early = sum(second - first < rest_s - 0.01 for first, second in pairwise(times))
    good = sum(a.status == 200 for a in found)
    return Finding((none("calls before the time", early, n), every("answered by the other", good, n)))


@check("B6", "A client's mistake is answered once: no retry, no fallback", tests=FALLBACK)
async def mistakes(bench: Bench) -> Finding:
    """400, 401, 403, 404 and 422 from the upstream."""
    n = bench.pick(20, 100, 100)
    statuses = (400, 401, 403, 404, 422)
    called = passed = elsewhere = 0
    async with fronting(bench, routing={"fallback": BOTH_WAYS}) as front:
        for status in statuses:
            front.cloud.script = answers(b'{"error":{"message":"no"}}', status)
            found = await front.chats(n, 8)
            passed += sum(a.status == status for a in found)
        called, elsewhere = len(front.cloud.seen), len(front.local.seen)
    total = n * len(statuses)
    return Finding(
        (
            every("passed on as they are", passed, total),
            every("upstream calls", called, total),
            none("calls of the other", elsewhere, total),
        )
    )


@check(
    "B7",
    "Retries stay below a tenth of the requests",
    reference="SRE book: 1.1x as advice; Envoy: 20 %",
    tests="tests/serve/test_breaker.py::test_retries_stay_in_their_budget",
)
async def retries(bench: Bench) -> Finding:
    """Every connection is refused; the breaker never opens and three retries are allowed."""
    n = bench.pick(100, 1000, 1000)
    upstream = {"retries": 3, "breaker_failures": NEVER_OPEN}
    dead = {"cloud": {"url": f"http://127.0.0.1:{free_port()}/v1"}}
    async with fronting(bench, upstream=upstream, upstreams=dead) as front:
        found = await front.chats(n, 16)
        metrics = await front.gateway.metrics()
    calls = metrics['pointsman_upstream_calls_total{outcome="unreachable",upstream="cloud"}']
    told = sum(a.status == 502 and a.headers.get("x-should-retry") == "false" for a in found)
    return Finding(
        (
            at_most("upstream calls", calls, 1.1 * n + 3, "", n),
            every("clients told not to retry themselves", told, n),
        )
    )


@check("B8", "Each upstream has its own circuit breaker, which opens, probes and closes", tests=BREAKER)
async def breaker(bench: Bench) -> Finding:
    """A failing upstream that recovers, under steady requests; then the bookkeeping against its rules."""
    open_s, seconds = 0.5, bench.pick(2.0, 4.0, 10.0)
    failing = answers(b"{}", 500)
    upstream = {"breaker_failures": 5, "breaker_open_s": open_s}
    async with fronting(bench, cloud=failing, upstream=upstream) as front:
        begun = time.monotonic()
        tripped = index = 0
        while time.monotonic() - begun < seconds:
            await front.ask(wire.chat(f"q{index}", model="cloud"))
            tripped += (await front.ask(wire.chat(f"l{index}", model="local"))).status != 200
            index += 1
        took = time.monotonic() - begun
        probes = len(front.cloud.seen) - 5
        front.cloud.script = answers()
        mended = time.monotonic()
        while (await front.ask(wire.chat("again", model="cloud"))).status != 200:
            await asyncio.sleep(0.005)
        back_s = time.monotonic() - mended
    steps = bench.pick(2_000, 10_000, 100_000)
    return Finding(
        (
            at_most("probes while open", probes, took // open_s + 1),
            none("requests to the healthy one that failed", tripped, index),
            within("back after it recovered", back_s, open_s + 0.1, "s"),
            none(
                "violations in random steps of the bookkeeping", violations(steps, bench.random("B8")), steps
            ),
        ),
        (bench.seed,),
    )


def violations(steps: int, draw: random.Random) -> int:
    """Drive a breaker at random under a clock of our own; how often it broke its rules."""
    now = 0.0
    limit, open_s = 3, 5.0
    made = Breaker(limit, open_s, lambda: now)
    failures, held_until, last_probe, wrong = 0, 0.0, float("-inf"), 0
    for _ in range(steps):
        match draw.randrange(5):
            case 0:
                is_open = failures >= limit
                allowed = made.allow()
                wrong += made.is_open != is_open
                if allowed:
                    wrong += now < held_until
                    wrong += is_open and now - last_probe < open_s
                    last_probe = now if is_open else last_probe
                elif not is_open:
                    wrong += now >= held_until
            case 1:
                made.success()
                failures = 0
            case 2:
                made.failure()
                failures += 1
                if failures >= limit:
                    last_probe = now
            case 3:
                wait = draw.uniform(0, 3)
                made.hold(wait)
                held_until = max(held_until, now + wait)
            case _:
                now += draw.uniform(0, 4)
    return wrong


@check("B9", "The client's deadline covers all attempts together", tests=LIMITS)
async def deadlines(bench: Bench) -> Finding:
    """Random deadlines against upstreams that stop at a random place."""
    n, most_s = bench.pick(60, 300, 1000), bench.pick(1.0, 2.0, 5.0)
    draw = bench.random("B9")
    limits = [draw.uniform(0.05, most_s) for _ in range(n)]

    async def stops_somewhere(call: Call) -> None:
        place = hash(call.headers["x-request-id"]) % 3
        if place == 1:
            await call.send(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"
            )
        elif place == 2:
            await call.send(STREAM_HEAD + chunk(b'data: {"x": 1}\n\n'))
        await call.wait_for_close()

    upstream = {"breaker_failures": NEVER_OPEN}
    tables: dict[str, Any] = {"routing": {"fallback": BOTH_WAYS}}
    async with fronting(
        bench, local=stops_somewhere, cloud=stops_somewhere, upstream=upstream, **tables
    ) as front:

        async def one(index: int) -> wire.Answer:
            headers = {
                "x-pointsman-deadline-ms": str(round(1000 * limits[index])),
                "x-request-id": f"r{index}",
            }
            return await front.ask(wire.chat(f"q{index}", headers), most_s + 10)

        found = await at_once(one, range(n), 32)
    overruns = [1000 * (a.ended_at - a.sent_at - limits[i]) for i, a in enumerate(found)]
    ways = (b"upstream_timeout", b"queue_timeout", b"overloaded")
    ended = sum(a.is_whole and any(way in a.body for way in ways) for a in found)
    return Finding(
        (
            every("ended, and told why", ended, n),
            within("overrun, longest", max(overruns), 100.0, n=n),
        ),
        (bench.seed,),
    )


BOMB = gzip.compress(b"\0" * 50_000_000)


def hostile() -> dict[str, Script]:
    """Answers that would fill a memory or lead elsewhere."""

    async def endless_json(call: Call) -> None:
        await call.send(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        while True:
            await call.send(chunk(b" " * 65536))

    async def endless_line(call: Call) -> None:
        await call.send(STREAM_HEAD + chunk(b"data: "))
        while True:
            await call.send(chunk(b"x" * 65536))

    async def endless_head(call: Call) -> None:
        await call.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            await call.send(b"x-filler: " + b"y" * 1000 + b"\r\n")

    async def gigabyte(call: Call) -> None:
        await call.send(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000000000\r\n\r\n"
        )
        while True:
            await call.send(b"1" * 65536)

    many = "".join(f"x-h{i}: v\r\n" for i in range(20_000))
    return {
        "gzip bomb": answers(BOMB, headers="content-encoding: gzip\r\n"),
        "endless JSON": endless_json,
        "endless line": endless_line,
        "endless head": endless_head,
        "a gigabyte": gigabyte,
        "20,000 headers": answers(headers=many),
        "HTML": answers(b"<html>", headers="content-type: text/html\r\n"),
    }


@check("B10", "Hostile answers are cut at the limits, and redirects never followed", tests=LIMITS)
async def hostile_answers(bench: Bench) -> Finding:
    """Bombs and endless answers, with answers limited to 4 MiB; then redirects."""
    rounds = bench.pick(1, 4, 20)
    ended = n = 0
    async with FaultUpstream(answers()) as elsewhere:
        upstream = {"breaker_failures": NEVER_OPEN, "first_byte_timeout_s": 5.0}
        async with fronting(bench, upstream=upstream, limits={"answer_bytes": 4 * 2**20}) as front:
            for _ in range(5):
                await front.ask(wire.chat("warm", model="cloud"))
            before = front.gateway.rss_mb
            target = f"http://127.0.0.1:{elsewhere.port}/v1/chat/completions"
            scripts = hostile()
            for status in (301, 302, 303, 307, 308):
                scripts[str(status)] = answers(b"", status, f"location: {target}\r\n")
            for script in list(scripts.values()) * rounds:
                front.cloud.script = script
                answer = await front.ask(wire.chat("q", model="cloud"), 30)
                ended += answer.is_whole
                n += 1
            grown = front.gateway.status("VmHWM") / 1024 - before
            alive = await front.gateway.is_alive()
        followed = elsewhere.connections
    return Finding(
        (
            every("ended whole: an error or an error event", ended, n),
            at_most("peak memory", grown, 16.0, "MiB"),
            none("connections to a redirect's target", followed, 5 * rounds),
            every("alive afterwards", alive, 1),
        )
    )


@check(
    "B16", "Many requests to a silent upstream open no more connections than chats are allowed", tests=LIMITS
)
async def storm(bench: Bench) -> Finding:
    """64 chats allowed, several times as many asked at once."""
    n, allowed = bench.pick(200, 400, 1000), 64
    upstream = {"first_byte_timeout_s": 1.5, "breaker_failures": NEVER_OPEN}
    async with fronting(bench, cloud=hangs, upstream=upstream, limits={"chats": allowed}) as front:
        found = await front.chats(n, n)
        most = front.cloud.most_open
        await asyncio.sleep(0.3)
        left = front.cloud.open
    refused = [a for a in found if a.status == 503]
    return Finding(
        (
            at_most("connections at once", most, allowed, "", n),
            every("answered", sum(a.is_whole for a in found), n),
            none(
                "refusals without Retry-After",
                sum("retry-after" not in a.headers for a in refused),
                len(refused),
            ),
            none("connections left", left, n),
            noted("refused at once", len(refused), "", n),
        )
    )
