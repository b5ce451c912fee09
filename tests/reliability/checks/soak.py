"""I2: faults of every kind mixed with good requests, for as long as the size says: nothing may pile up."""

import asyncio
import contextlib
import json
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.reliability.checks.malformed_http import quirks, raw, wire_cases
from tests.reliability.checks.memory import slope_t
from tests.reliability.checks.streams import cut_after, leave
from tests.reliability.checks.texts import EMPTY, ODD
from tests.reliability.suite import check
from tests.support import wire
from tests.support.fault_upstream import Call, Script, answers, events, hangs, resets, streams
from tests.support.harness.bench import UNCACHED, Bench
from tests.support.harness.fronts import BOTH_WAYS, NEVER_OPEN, Front, fronting
from tests.support.harness.measure import Finding, at_most, every, none, noted
from tests.support.harness.open_load import DROPPED, REFUSED, Pool, open_loop

DECLARED = {"200", "400", "413", "415", "429", "502", "503", "504"}
SLICES = 24
"""Of the whole time; memory is looked at after each, and the first third warms up."""


def any_fault(draw: random.Random) -> Script:
    """An upstream that answers, or fails, as the draw has it."""
    pieces = events(6)
    ways: list[Script] = [
        *(answers(), streams(pieces), resets, hangs, answers(b"{}", 500), answers(b"{}", 400)),
        *(answers(b"oops"), answers(b"", 302, "location: http://127.0.0.1:9/\r\n")),
        *(cut_after(pieces[:3], pieces[3][:5], way) for way in ("fin", "rst")),
    ]

    async def script(call: Call) -> None:
        await draw.choice(ways)(call)

    return script


def any_request(bench: Bench, draw: random.Random) -> Callable[[int], bytes]:
    """A good request every other time; else a strange text, what is nearly JSON, or a chat."""
    bodies = [case for case in quirks() if len(case[0]) < 200_000]

    def one(index: int) -> bytes:
        match draw.randrange(8):
            case 0:
                return wire.predict(draw.choice(ODD + EMPTY))
            case 1:
                body, headers, _ = draw.choice(bodies)
                return wire.request(draw.choice(("/predict", "/v1/chat/completions")), body, headers)
            case 2:
                return wire.chat(f"plan {index}", model="cloud", stream=True)
            case 3:
                return wire.chat(
                    draw.choice(ODD[:3]) + str(index), model=draw.choice(("auto", "cloud", "local"))
                )
            case _:
                return bench.predict(index)

    return one


async def hostile_clients(front: Front, draw: random.Random) -> None:
    """Heads that smuggle or flood, and clients that leave in the middle, one after the other, for ever."""
    cases = [data for _, data in wire_cases()]
    number = 0
    while True:
        number += 1
        await raw(front.gateway.port, draw.choice(cases), 0.5)
        # An answer may be shorter, or be no answer.
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            await leave(front, f"left-{number}", streams=True, after_bytes=draw.choice((0, 200)), wait_s=0.05)
        await asyncio.sleep(0.05)


@check("I2", "Nothing piles up in a long mixture of faults", reference="LiteLLM: 150 MB in 2,000 requests")
async def mixture(bench: Bench) -> Finding:
    """Half its capacity in good and bad requests, upstreams that fail in ten ways, hostile clients beside."""
    seconds = bench.pick(12.0, 48.0, 1_800.0)
    # The threads' pools of a dozen seconds are still filling when its first third is over.
    most_percent = bench.pick(10.0, 3.0, 3.0)
    draw = bench.random("I2")
    capacity = await bench.measured_capacity()
    upstream = {"breaker_failures": NEVER_OPEN, "first_byte_timeout_s": 0.3, "idle_timeout_s": 0.3}
    tables: dict[str, Any] = {
        "routing": {"fallback": BOTH_WAYS},
        "limits": {"queue_timeout_ms": 5_000.0},
        **UNCACHED,
    }
    outcomes: Counter[str] = Counter()
    memory: list[float] = []
    fault = any_fault(draw)
    async with fronting(bench, local=fault, cloud=fault, upstream=upstream, **tables) as front:
        gateway = front.gateway
        await gateway.is_alive()
        files, threads = gateway.files, gateway.status("Threads")
        beside = asyncio.ensure_future(hostile_clients(front, draw))
        request_at = any_request(bench, draw)
        begun = time.monotonic()
        while time.monotonic() - begun < seconds:
            pool = Pool(gateway.port)
            load = await open_loop(
                gateway.port,
                request_at,
                0.5 * capacity,
                seconds / SLICES,
                seed=draw.randrange(10**9),
                pool=pool,
            )
            pool.close()
            outcomes += load.outcomes
            memory.append(gateway.rss_mb)
            front.local.seen.clear()
            front.cloud.seen.clear()
        beside.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await beside
        is_quiet = await gateway.settles()
        await asyncio.sleep(1.0)
        alive = await gateway.is_alive()
        files_over, threads_over = gateway.files - files, gateway.status("Threads") - threads
        # Connections to upstreams are kept for the next call: they are no leak.
        files_over -= front.local.open + front.cloud.open
    n = sum(outcomes.values())
    kept = memory[len(memory) // 3 :]
    growth = statistics.median(kept[-3:]) - statistics.median(kept[:3])
    strange = sum(k for name, k in outcomes.items() if name not in DECLARED)
    if strange:
        print(f"      {json.dumps(outcomes)}")
    return Finding(
        (
            none("no whole answer", outcomes[DROPPED] + outcomes[REFUSED], n),
            none("statuses that are not declared", strange - outcomes[DROPPED] - outcomes[REFUSED], n),
            at_most("growth after the warm-up", growth, 15.0, "MiB", n),
            at_most(
                "the same, of what it was", 100 * growth / statistics.median(kept[:3]), most_percent, "%", n
            ),
            at_most("descriptors left over", files_over, 2),
            at_most("threads left over", threads_over, 2),
            every("nothing in flight", is_quiet, 1),
            every("alive afterwards", alive, 1),
            noted("t of the slope", slope_t(kept), "", len(kept)),
            noted("seconds", seconds, "s"),
        ),
        (bench.seed,),
    )
