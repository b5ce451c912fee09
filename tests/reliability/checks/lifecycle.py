"""C: starting, stopping, reloading and freezing, with requests under way all the time."""

import asyncio
import json
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.reliability.altered_artifacts import broken, pair
from tests.reliability.client_mix import ClientMix
from tests.reliability.suite import check
from tests.support import wire
from tests.support.fault_upstream import Call, events, streams
from tests.support.harness.bench import UNCACHED, Bench
from tests.support.harness.fronts import fronting, has_error_event
from tests.support.harness.measure import Finding, at_most, every, none, noted, within
from tests.support.harness.open_load import DROPPED, REFUSED, Load, open_loop
from tests.support.openai_messages import STREAM_HEAD, chunk, completion, delta, whole
from tests.support.process import Gateway

TESTS = "tests/serve/test_operations.py"
DRAIN_S, GRACE_S, SLOW_S = 0.3, 10.0, 0.8


async def by_kind(call: Call) -> None:
    """Streams take a while, and so do slow answers."""
    if call.json.get("stream"):
        await streams(events(8), 0.1)(call)
    else:
        await asyncio.sleep(SLOW_S)
        await call.send(whole(completion("slow")))


@check(
    "C1",
    "After SIGTERM under load every accepted request is answered, and the exit code is 0",
    reference="Triton: 6 requests, one run; vLLM tolerates drops",
    tests=TESTS,
)
async def sigterm(bench: Bench) -> Finding:
    """Fast requests on new and on kept connections, slow ones and streams; the signal at a random time."""
    runs = bench.pick(2, 12, 100)
    draw = bench.random("C1")
    total, cut_streams, codes, late = Counter[str](), 0, 0, 0.0
    for _ in range(runs):
        tables: dict[str, Any] = {"server": {"drain_delay_s": DRAIN_S, "grace_s": GRACE_S}}
        async with fronting(bench, local=by_kind, cloud=by_kind, **tables) as front:
            crowd = ClientMix(front.gateway, bench)
            tasks = [asyncio.ensure_future(client) for client in crowd.clients()]
            await asyncio.sleep(0.5 + draw.random())
            front.gateway.signal(signal.SIGTERM)
            begun = time.monotonic()
            code = await front.gateway.ended(GRACE_S + 10)
            late = max(late, time.monotonic() - begun - DRAIN_S - max(SLOW_S, 0.8))
            crowd.is_over = True
            await asyncio.gather(*tasks)
            codes += code == 0
            total += crowd.outcomes
            cut_streams += crowd.cut
    n = sum(total.values())
    return Finding(
        (
            none("accepted and then dropped", total[DROPPED], n - total[REFUSED]),
            none("streams cut", cut_streams, total["stream"]),
            every("exit code 0", codes, runs),
            within("exit, beyond drain delay and longest request", late, 1.0, "s", runs),
            noted("refused once it was closing", total[REFUSED], "", n),
        ),
        (bench.seed,),
    )


@check(
    "C2",
    "Streams that outlast the grace time are told so, not cut",
    reference="uvicorn: 9 of 9 cut",
    tests=TESTS,
)
async def outlasting(bench: Bench) -> Finding:
    """A second of grace, streams of a minute."""
    n = bench.pick(30, 100, 100)

    async def long(call: Call) -> None:
        await call.send(STREAM_HEAD)
        for index in range(600):
            await call.send(chunk(delta(f"w{index} ")))
            await asyncio.sleep(0.1)

    server: dict[str, Any] = {"server": {"drain_delay_s": 0.1, "grace_s": 1.0}}
    async with fronting(bench, cloud=long, **server) as front:
        asked = [
            asyncio.ensure_future(front.ask(wire.chat(f"q{i}", model="cloud", stream=True))) for i in range(n)
        ]
        while len(front.cloud.seen) < n:
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)
        front.gateway.signal(signal.SIGTERM)
        code = await front.gateway.ended(20)
        found = await asyncio.gather(*asked)
    told = sum(a.is_whole and has_error_event(a.body) and b'"draining"' in a.body for a in found)
    return Finding((every("ended with the event `draining`", told, n), every("exit code 0", code == 0, 1)))


@check("C3", "A signal at any time, repeated or mixed with others, ends the gateway soon", tests=TESTS)
async def signals(bench: Bench) -> Finding:
    """SIGTERM while it starts, in the middle of a reload, twice, and SIGINT before SIGTERM."""
    rounds = bench.pick(1, 3, 20)
    hung, n = 0, 0
    for round_ in range(rounds):
        for way in ("starting", "reloading", "twice", "mixed"):
            if way == "starting":
                starting = asyncio.ensure_future(bench.gateway())
                await asyncio.sleep(0.05 + 0.1 * (round_ % 10))
                gateway = await starting
            else:
                gateway = await bench.gateway()
            first = {"reloading": signal.SIGHUP, "mixed": signal.SIGINT}.get(way, signal.SIGTERM)
            gateway.signal(first)
            gateway.signal(signal.SIGTERM)
            hung += await gateway.ended(15) is None
            n += 1
            await gateway.stop()
    return Finding((none("still there after 15 seconds", hung, n),))


@check(
    "C5",
    "A broken artifact at the start: one line, exit code 3, never ready",
    tests="tests/serve/test_operations.py",
)
async def bad_start(bench: Bench) -> Finding:
    """The shipped artifact, broken in eight ways."""
    import sys

    n = bench.pick(4, 16, 64)
    good = 0
    slowest = 0.0
    with tempfile.TemporaryDirectory() as name:
        for kind, path in broken(Path(name), n, bench.random("C5")):
            begun = time.monotonic()
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "pointsman",
                "serve",
                "--port",
                "0",
                "--admin-port",
                "none",
                "--artifact",
                str(path),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            out, err = await asyncio.wait_for(process.communicate(), 60)
            slowest = max(slowest, time.monotonic() - begun)
            is_good = process.returncode == 3 and not out and b"Traceback" not in err
            good += is_good
            if not is_good:
                print(f"      {kind}: {process.returncode} {err[-300:]!r}")
    return Finding(
        (every("exit code 3, and nothing but a message", good, n), within("slowest", slowest, 5.0, "s", n)),
        (bench.seed,),
    )


@asynccontextmanager
async def under_traffic(bench: Bench, gateway: Gateway) -> AsyncIterator[list[Load]]:
    """Traffic at 0.3 C until the block ends; what came of it is in the list."""
    loads: list[Load] = []
    over = asyncio.Event()
    capacity = await bench.measured_capacity()

    async def go() -> None:
        while not over.is_set():
            seed = bench.seed + len(loads)
            loads.append(await open_loop(gateway.port, bench.predict, 0.3 * capacity, 1.0, seed=seed))

    task = asyncio.ensure_future(go())
    try:
        yield loads
    finally:
        over.set()
        await task


@check(
    "C6",
    "A reload of a broken artifact is refused, and the old one serves on",
    reference="Triton: one case",
    tests="tests/serve/test_operations.py::TestReload",
)
async def bad_reload(bench: Bench) -> Finding:
    """Broken copies under traffic, with readiness asked after each."""
    n = bench.pick(8, 40, 100)
    refused = unready = 0
    async with await bench.gateway({**UNCACHED, "limits": {"queue_timeout_ms": 5000}}) as gateway:
        version = (await gateway.state())["version"]
        with tempfile.TemporaryDirectory() as name:
            async with under_traffic(bench, gateway) as loads:
                for _, path in broken(Path(name), n, bench.random("C6")):
                    body = json.dumps({"artifact": str(path)}).encode()
                    answer = await wire.ask(gateway.admin_port, wire.request("/admin/reload", body))
                    refused += answer.status == 409 and str(path).encode() not in answer.body
                    unready += (await wire.ask(gateway.port, wire.get("/readyz"))).status != 200
        same = (await gateway.state())["version"] == version
    sent, bad = sum(load.sent for load in loads), sum(load.bad for load in loads)
    return Finding(
        (
            every("refused with 409", refused, n),
            none("failed requests meanwhile", bad, sent),
            none("times it was not ready", unready, n),
            every("the old version afterwards", same, 1),
        ),
        (bench.seed,),
    )


@check(
    "C7",
    "A reload under load: every answer comes from exactly one version",
    tests="tests/serve/test_operations.py::TestReload",
)
async def good_reload(bench: Bench) -> Finding:
    """Swaps between an artifact and its mirror image, whose p_cloud is one minus the other's."""
    n, most_percent = bench.pick((12, 10.0), (60, 5.0), (200, 5.0))
    mixed = answered = failed = swapped = 0
    folder = Path(tempfile.mkdtemp(prefix="pointsman-harness-"))
    plain, mirror = pair(folder)
    text = "Compare three strategies and derive the best one"
    limits = {"limits": {"queue_timeout_ms": 10_000}}
    async with await bench.gateway(
        {"inference": {"cache_size": 64, "artifact": str(plain.path)}, **limits}
    ) as gateway:

        async def p_of(connection: wire.Connection) -> tuple[str, float] | None:
            answer = await connection.ask(wire.predict(text))
            if answer.status != 200:
                return None
            value = answer.json()
            return str(value["version"]).partition("-")[0], float(value["p_cloud"])

        first = await wire.connect(gateway.port)
        before = await p_of(first)
        assert before is not None
        p = before[1]
        expected = {plain.manifest.id[:12]: p, mirror.manifest.id[:12]: 1 - p}
        over = asyncio.Event()

        async def client() -> None:
            nonlocal mixed, answered, failed
            connection = await wire.connect(gateway.port)
            while not over.is_set():
                found = await p_of(connection)
                answered += found is not None
                failed += found is None
                mixed += found is not None and abs(found[1] - expected.get(found[0], -1.0)) > 1e-4
                await asyncio.sleep(0.005)
            connection.close()

        tasks = [asyncio.ensure_future(client()) for _ in range(4)]
        memory = []
        for index in range(n):
            path = (mirror if index % 2 == 0 else plain).path
            body = json.dumps({"artifact": str(path)}).encode()
            answer = await wire.ask(gateway.admin_port, wire.request("/admin/reload", body))
            swapped += answer.status == 200
            memory.append(gateway.rss_mb)
        over.set()
        await asyncio.gather(*tasks)
    shutil.rmtree(folder)
    # The allocator's pools grow over some thirty swaps, then stay. A model that each swap kept would add 5 %.
    growth = 100 * (max(memory[3 * n // 4 :]) / max(memory[n // 2 : 3 * n // 4]) - 1)
    return Finding(
        (
            every("swaps", swapped, n),
            none("answers of no one version", mixed, answered),
            none("failed requests", failed, answered + failed),
            at_most("memory, last quarter over the third", growth, most_percent, "%", n),
        )
    )


@check("C8", "A process that is frozen for a while loses nothing")
async def frozen(bench: Bench) -> Finding:
    """SIGSTOP and SIGCONT under traffic."""
    rounds, seconds = bench.pick(1, 3, 20), bench.pick(1.0, 3.0, 3.0)
    async with await bench.gateway(
        {**UNCACHED, "limits": {"queue_timeout_ms": 20_000, "queue": 2048}}
    ) as gateway:
        async with under_traffic(bench, gateway) as loads:
            for _ in range(rounds):
                await asyncio.sleep(0.5)
                gateway.signal(signal.SIGSTOP)
                await asyncio.sleep(seconds)
                gateway.signal(signal.SIGCONT)
            await asyncio.sleep(0.5)
        alive = await gateway.is_alive()
    sent, bad = sum(load.sent for load in loads), sum(load.bad for load in loads)
    return Finding((none("lost or failed requests", bad, sent), every("alive afterwards", alive, 1)))
