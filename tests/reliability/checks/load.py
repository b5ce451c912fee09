"""A: load, overload, and clients that only hold on."""

import asyncio
import json
import secrets
import time

from tests.reliability.suite import check
from tests.support import wire
from tests.support.harness.bench import UNCACHED, Bench
from tests.support.harness.measure import Finding, at_most, every, none, noted, reaches, within
from tests.support.harness.open_load import Load, open_loop
from tests.support.process import Gateway

ALLOWED = {"200", "429", "503"}
TESTS = "tests/serve/test_operations.py"


def strange(load: Load) -> int:
    """Requests that got no whole answer, or one that overload does not explain."""
    return sum(count for outcome, count in load.outcomes.items() if outcome not in ALLOWED)


async def probe(gateway: Gateway, seconds: float) -> Load:
    """Ask /livez ten times a second, as an orchestrator would."""
    return await open_loop(gateway.port, lambda _: wire.get("/livez"), 10, seconds, seed=1)


@check(
    "A1",
    "At 0.7 of its capacity every request is answered",
    reference="TEI: no failure in 1,500",
    tests="tests/serve/test_classify.py",
)
async def nominal(bench: Bench) -> Finding:
    """Mixed lengths at 0.7 C."""
    capacity = await bench.measured_capacity()
    seconds = bench.pick(3.0, 20.0, 60.0)
    async with await bench.gateway(UNCACHED) as gateway:
        load = await open_loop(gateway.port, bench.predict, 0.7 * capacity, seconds, seed=bench.seed)
    return Finding(
        (
            noted("capacity C", capacity, "requests/s"),
            none("incomplete or unexpected answers", strange(load), load.sent),
            within("refused", load.turned_away, 0, "", load.sent),
            noted("p50", load.quantile_ms(0.5), "ms"),
            noted("p99", load.quantile_ms(0.99), "ms"),
            noted("generator late by", 1000 * load.late_s, "ms"),
        ),
        (bench.seed,),
    )


@check(
    "A2",
    "Twice its capacity: accepted requests stay fast, the rest is refused at once and told when to come back",
    reference="LiteLLM: 200 at once, p99 under 5 s, probe p95 under 500 ms",
    tests=TESTS,
)
async def twice(bench: Bench) -> Finding:
    """2 C, open loop, with health probes beside it."""
    capacity = await bench.measured_capacity()
    seconds = bench.pick(4.0, 20.0, 60.0)
    async with await bench.gateway(UNCACHED) as gateway:
        calm = await open_loop(gateway.port, bench.predict, 0.3 * capacity, seconds / 4, seed=bench.seed)
        load, probes = await asyncio.gather(
            open_loop(gateway.port, bench.predict, 2 * capacity, seconds, seed=bench.seed),
            probe(gateway, seconds),
        )
    ceiling = min(250.0, 150.0 + 2 * calm.quantile_ms(0.99))
    refused = load.turned_away
    return Finding(
        (
            none("incomplete or unexpected answers", strange(load), load.sent),
            none("refusals without Retry-After", load.without_retry_after, refused),
            none("failed health probes", probes.bad, probes.sent),
            noted("offered", load.sent / seconds / capacity, "of C"),
            reaches("goodput", load.rate / capacity, 0.9, "of C", load.good),
            within("accepted, p99", load.quantile_ms(0.99), ceiling, n=load.good),
            within("refused, p99", load.quantile_ms(0.99, "429", "503"), 50.0, n=refused),
            within("health probe, p95", probes.quantile_ms(0.95), 50.0, n=probes.sent),
            noted("generator late by", 1000 * load.late_s, "ms"),
        ),
        (bench.seed,),
    )


@check(
    "A3", "After a spike of ten times its capacity it refuses nothing and is as fast as before", tests=TESTS
)
async def spike(bench: Bench) -> Finding:
    """10 C, then 0.5 C; after two seconds everything is as before."""
    capacity = await bench.measured_capacity()
    hot, calm = bench.pick(2.0, 5.0, 10.0), bench.pick(3.0, 10.0, 30.0)
    async with await bench.gateway(UNCACHED) as gateway:
        before = await open_loop(gateway.port, bench.predict, 0.5 * capacity, calm, seed=bench.seed)
        peak = await open_loop(gateway.port, bench.predict, 10 * capacity, hot, seed=bench.seed)
        await open_loop(gateway.port, bench.predict, 0.5 * capacity, 2.0, seed=bench.seed + 1)
        after = await open_loop(gateway.port, bench.predict, 0.5 * capacity, calm, seed=bench.seed)
    ratio = after.quantile_ms(0.99) / max(before.quantile_ms(0.99), 0.001)
    return Finding(
        (
            none("incomplete or unexpected answers", strange(peak) + strange(after), peak.sent + after.sent),
            none("refusals without Retry-After", peak.without_retry_after, peak.turned_away),
            noted("offered in the spike", peak.sent / hot / capacity, "of C"),
            within("refused after two seconds", after.bad, 0, "", after.sent),
            within("p99 after over p99 before", ratio, 1.1, "", after.sent),
        ),
        (bench.seed,),
    )


@check(
    "A4", "No inference is done for a client that has disconnected", tests="tests/serve/test_disconnect.py"
)
async def for_the_dead(bench: Bench) -> Finding:
    """Waves of requests whose clients close before it is their turn."""
    waves, clients = bench.pick(5, 15, 40), 25
    most = 4
    settings = {"inference": {"cache_size": 0, "max_batch": most}, "limits": {"queue_timeout_ms": 60_000}}
    long = "word " * 120
    async with await bench.gateway(settings) as gateway:
        before = await gateway.metrics()
        for wave in range(waves):
            opened = await asyncio.gather(*(wire.connect(gateway.port) for _ in range(clients)))
            for index, connection in enumerate(opened):
                connection.ask(wire.predict(f"{long}{wave} {index}"))
            await asyncio.sleep(0.02)
            for connection in opened:
                connection.abort()
            await gateway.settles()
        after = await gateway.metrics()
        alive = await gateway.is_alive()
    key = 'pointsman_requests_total{route="/predict",status="200"}'
    answered = after.get(key, 0) - before.get(key, 0)
    inferred = after["pointsman_model_texts"] - before["pointsman_model_texts"]
    return Finding(
        (
            # A batch that runs when its clients leave is finished: a wave meets its first and one more.
            at_most(
                "inferred beyond the answered",
                inferred - answered,
                waves * 2 * most,
                "texts",
                waves * clients,
            ),
            every("alive afterwards", alive, 1),
        )
    )


@check(
    "A5", "A batch or a text that is too big is refused before it is read", tests="tests/serve/test_limits.py"
)
async def too_big(bench: Bench) -> Finding:
    """33 texts, a megabyte, and too many characters together."""
    rounds = bench.pick(5, 20, 50)
    bodies = [
        json.dumps({"query": ["hello"] * 33}).encode(),
        json.dumps({"query": "x" * 2**20}).encode(),
        json.dumps({"query": ["y" * 10_000] * 20}).encode(),
    ]
    refused, latencies = 0, []
    async with await bench.gateway() as gateway:
        await gateway.is_alive()
        before = gateway.rss_mb
        for body in bodies * rounds:
            answer = await wire.ask(gateway.port, wire.request("/predict", body))
            refused += answer.status == 413
            latencies.append(1000 * (answer.ended_at - answer.sent_at))
        grown = gateway.rss_mb - before
        alive = await gateway.is_alive()
    n = rounds * len(bodies)
    return Finding(
        (
            every("answered 413", refused, n),
            at_most("memory", grown, 5.0, "MiB"),
            within("refusal, slowest", max(latencies), 20.0, n=n),
            every("alive afterwards", alive, 1),
        )
    )


@check(
    "A6",
    "Clients that send slowly, or nothing, are closed at the deadline, and others are served as before",
    reference="uvicorn alone never closes them",
    tests="tests/serve/test_limits.py",
)
async def slow_clients(bench: Bench) -> Finding:
    """Heads and bodies a byte at a time, silent sockets, with traffic at 0.3 C beside them."""
    head_s, body_s = bench.pick((2.0, 3.0), (3.0, 5.0), (10.0, 30.0))
    drips, silent = bench.pick((40, 20), (200, 100), (200, 100))
    limits = {"limits": {"header_timeout_s": head_s, "body_timeout_s": body_s}}
    capacity = await bench.measured_capacity()
    partial = b"POST /predict HTTP/1.1\r\nhost: localhost\r\n"
    body = partial + b"content-type: application/json\r\ncontent-length: 1000\r\n\r\n{"

    async def hold(gateway: Gateway, first: bytes, drip: bytes) -> float:
        connection = await wire.connect(gateway.port)
        begun = time.monotonic()
        assert connection.transport is not None
        if first:
            connection.transport.write(first)
        while not connection.closed.done() and time.monotonic() - begun < 3 * body_s:
            await asyncio.wait({connection.closed}, timeout=0.5)
            if drip and connection.is_open:
                connection.transport.write(drip)
        connection.abort()
        return (connection.closed.result() if connection.closed.done() else time.monotonic()) - begun

    async with await bench.gateway({**UNCACHED, **limits}) as gateway:
        quiet = await open_loop(gateway.port, bench.predict, 0.3 * capacity, 2.0, seed=bench.seed)
        traffic = asyncio.ensure_future(
            open_loop(gateway.port, bench.predict, 0.3 * capacity, body_s + 1, seed=bench.seed)
        )
        heads, bodies, mute = await asyncio.gather(
            asyncio.gather(*(hold(gateway, partial, b"x: y\r\n") for _ in range(drips))),
            asyncio.gather(*(hold(gateway, body, b" ") for _ in range(drips // 4))),
            asyncio.gather(*(hold(gateway, b"", b"") for _ in range(silent))),
        )
        load = await traffic
        alive = await gateway.is_alive()
    late = sum(took > 2 * head_s + 1 for took in (*heads, *mute)) + sum(t > 2 * body_s + 1 for t in bodies)
    n = len(heads) + len(bodies) + len(mute)
    ratio = load.quantile_ms(0.99) / max(quiet.quantile_ms(0.99), 0.001)
    return Finding(
        (
            none("held open far beyond the deadline", late, n),
            within("heads and silent ones, longest over the deadline", max(*heads, *mute) - head_s, 1.0, "s"),
            within("bodies, longest over the deadline", max(bodies) - body_s, 1.0, "s"),
            none("other requests that failed", strange(load), load.sent),
            within("other requests refused", load.turned_away, 0, "", load.sent),
            within("p99 of the others over p99 without", ratio, 1.5, "", load.sent),
            every("alive afterwards", alive, 1),
        ),
        (bench.seed,),
    )


@check("A7", "Out of descriptors it refuses, and it is back within two seconds of relief")
async def descriptors(bench: Bench) -> Finding:
    """128 descriptors, 500 connections."""
    async with await bench.gateway(files=128) as gateway:
        await gateway.is_alive()
        await asyncio.sleep(0.2)
        before = gateway.files
        tried = await asyncio.gather(
            *(wire.connect(gateway.port, timeout_s=3) for _ in range(500)), return_exceptions=True
        )
        held = [connection for connection in tried if isinstance(connection, wire.Connection)]
        await asyncio.sleep(1.0)
        is_running = gateway.process.poll() is None
        for connection in held:
            connection.abort()
        await asyncio.sleep(2.0)
        good = sum([await gateway.is_alive() for _ in range(20)])
        await asyncio.sleep(0.5)
        left = gateway.files - before
    return Finding(
        (
            every("process alive", is_running, 1),
            every("answered after two seconds", good, 20),
            at_most("descriptors left over", abs(left), 2),
        )
    )


@check("A8", "Long texts do not starve short ones")
async def mixed(bench: Bench) -> Finding:
    """Half 128-token texts, half 4-token ones, against the short ones alone at the same rate of each."""
    capacity = await bench.measured_capacity()
    seconds = bench.pick(3.0, 10.0, 30.0)
    rate = 0.1 * capacity
    long = "word " * 126

    def short_one(index: int) -> bytes:
        return wire.predict(f"hi {index}")

    def long_one(index: int) -> bytes:
        return wire.predict(f"{index} {long}")

    async with await bench.gateway(UNCACHED) as gateway:
        alone = await open_loop(gateway.port, short_one, rate, seconds, seed=bench.seed)
        both, _ = await asyncio.gather(
            open_loop(gateway.port, short_one, rate, seconds, seed=bench.seed),
            open_loop(gateway.port, long_one, rate, seconds, seed=bench.seed + 1),
        )
    return Finding(
        (
            none("incomplete or unexpected answers", strange(both), both.sent),
            within(
                "short p99, over short p99 alone",
                both.quantile_ms(0.99) / max(alone.quantile_ms(0.99), 0.001),
                2.0,
                "",
                both.sent,
            ),
            noted("short p99 alone", alone.quantile_ms(0.99), "ms"),
        ),
        (bench.seed,),
    )


@check(
    "A9",
    "With `limits.requests_per_s`, one client cannot take another's share",
    tests="tests/serve/test_access.py",
)
async def fairness(bench: Bench) -> Finding:
    """One key at 5 C, another at 0.1 C."""
    capacity = await bench.measured_capacity()
    seconds = bench.pick(3.0, 10.0, 30.0)
    keys = [secrets.token_hex(32) for _ in range(2)]
    limits = {"requests_per_s": 0.4 * capacity, "burst": 20}
    async with await bench.gateway({**UNCACHED, "auth": {"keys": keys}, "limits": limits}) as gateway:

        def with_key(key: str) -> "type[object]":
            return lambda i: wire.predict(bench.text(i), {"authorization": f"Bearer {key}"})  # type: ignore[return-value]

        greedy, modest = await asyncio.gather(
            open_loop(gateway.port, with_key(keys[0]), 5 * capacity, seconds, seed=bench.seed),  # type: ignore[arg-type]
            open_loop(gateway.port, with_key(keys[1]), 0.1 * capacity, seconds, seed=bench.seed + 1),  # type: ignore[arg-type]
        )
    return Finding(
        (
            none(
                "incomplete or unexpected answers",
                strange(greedy) + strange(modest),
                greedy.sent + modest.sent,
            ),
            none("refusals without Retry-After", greedy.without_retry_after, greedy.turned_away),
            reaches(
                "the modest client's requests answered",
                modest.good / max(modest.sent, 1),
                0.99,
                "",
                modest.sent,
            ),
            noted("the greedy client's", greedy.good / max(greedy.sent, 1), "", greedy.sent),
        ),
        (bench.seed,),
    )
