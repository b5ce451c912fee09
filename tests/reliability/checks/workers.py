"""C and I: several processes behind one port, killed one by one and started again and again."""

import asyncio
import os
import signal
import time
from collections import Counter
from pathlib import Path

from tests.reliability.suite import check
from tests.support import wire
from tests.support.harness.bench import UNCACHED, Bench
from tests.support.harness.fronts import at_once
from tests.support.harness.measure import Finding, at_least, every, none, noted, within
from tests.support.process import Gateway

TESTS = "tests/serve/test_workers.py"
TWO = {"server": {"workers": 2, "drain_delay_s": 0.1}, "limits": {"queue_timeout_ms": 20_000}}
TRIES = 3
"""A client that gets no answer asks again, as every OpenAI client does."""


@check("C4", "A worker that is killed is replaced, and clients that ask again lose nothing", tests=TESTS)
async def killed(bench: Bench) -> Finding:
    """SIGKILL to one of two workers after the other, with four clients all the time; then to the parent."""
    kills = bench.pick(2, 5, 20)
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    is_over = False
    async with await bench.gateway({**UNCACHED, **TWO}) as gateway:

        async def client(first: int) -> None:
            index = first
            while not is_over:
                outcomes[await _persistently(gateway, bench.predict(index), outcomes)] += 1
                index += 4
                await asyncio.sleep(0.01)

        clients = [asyncio.ensure_future(client(first)) for first in range(4)]
        for turn in range(kills):
            await asyncio.sleep(0.5)
            victim = gateway.children()[turn % 2]
            os.kill(victim, signal.SIGKILL)
            begun = time.monotonic()
            while victim in gateway.children() or await _answering(gateway) < 2:
                await asyncio.sleep(0.02)
            slowest = max(slowest, time.monotonic() - begun)
        is_over = True
        await asyncio.gather(*clients)
        left = gateway.children()
        gateway.process.kill()
        until = time.monotonic() + 20
        while (
            orphans := [pid for pid in left if Path(f"/proc/{pid}").exists()]
        ) and time.monotonic() < until:
            await asyncio.sleep(0.05)
    n = outcomes["answered"] + outcomes["failed"]
    return Finding(
        (
            at_least("answered, asked again where need be", outcomes["answered"] / n, 0.999, "", n),
            none("workers that outlive their parent", len(orphans), len(left)),
            within("two workers answer again, slowest", slowest, 3.0, "s", kills),
            noted("asked again", outcomes["again"], "", n),
        )
    )


async def _persistently(gateway: Gateway, request: bytes, outcomes: Counter[str]) -> str:
    for _ in range(TRIES):
        try:
            answer = await wire.ask(gateway.port, request, 30)
        except (OSError, TimeoutError):
            answer = wire.Answer()
        if answer.is_whole:
            return "answered" if answer.status == 200 else "failed"
        outcomes["again"] += 1
    return "failed"


async def _answering(gateway: Gateway) -> int:
    """How many workers answer their parent now."""
    return int((await gateway.metrics())["pointsman_workers"])


@check("I5", "Two workers start and stop every time", tests=TESTS)
async def starts(bench: Bench) -> Finding:
    """Start, ask, SIGTERM; each is a fresh interpreter, not the copy of a process with threads."""
    n, per = bench.pick(2, 5, 10), 20
    answering = answered = ended = fresh = 0
    for _ in range(n):
        async with await bench.gateway(TWO) as gateway:

            async def ask(index: int, port: int = gateway.port) -> int:
                return (await wire.ask(port, bench.predict(index))).status

            answering += await _answering(gateway)
            answered += sum(status == 200 for status in await at_once(ask, range(per), 4))
            commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in gateway.children()]
            fresh += sum(b"--worker-socket" in command for command in commands)
            gateway.signal(signal.SIGTERM)
            ended += await gateway.ended(20) == 0
    return Finding(
        (
            every("workers that answer", answering, 2 * n),
            every("requests answered", answered, per * n),
            every("exit code 0", ended, n),
            every("workers that are fresh interpreters", fresh, 2 * n),
        )
    )
