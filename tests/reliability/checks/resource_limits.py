"""C and I: what the system gives: where logs go, how many processors there are, and how much memory."""

import resource
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.reliability.suite import check
from tests.support import wire
from tests.support.harness.bench import UNCACHED, Bench
from tests.support.harness.fronts import Front, at_once, fronting
from tests.support.harness.measure import Finding, every, none, noted
from tests.support.process import CORES, Gateway

FULL = Path("/dev/full")


@check(
    "C9",
    "Where logs cannot be written, nothing is lost but the logs",
    tests="tests/serve/test_operations.py::test_nowhere_to_write_to_is_no_reason_to_stop",
)
async def nowhere_to_log(bench: Bench) -> Finding:
    """Standard error on a disk that is always full, at DEBUG: decisions, chats, streams and errors."""
    starts, each = bench.pick(1, 10, 50), bench.pick(200, 100, 100)
    makers: tuple[tuple[int, Callable[[int], bytes]], ...] = (
        (200, lambda i: wire.predict(f"plan {i}")),
        (200, lambda i: wire.chat(f"q{i}", model="cloud")),
        (400, lambda i: wire.chat(f"q{i}", model="nobody")),
        (404, lambda i: wire.get(f"/nowhere-{i}")),
    )
    how: dict[str, Any] = {"log": FULL}
    good, codes = 0, []
    for _ in range(starts):
        async with fronting(bench, how=how, server={"log_level": "debug", "drain_delay_s": 0.1}) as front:

            async def one(index: int, front: Front = front) -> bool:
                status, make = makers[index % len(makers)]
                answer = await front.ask(make(index))
                return answer.is_whole and answer.status == status

            good += sum(await at_once(one, range(each), 8))
            front.gateway.signal(signal.SIGTERM)
            codes.append(await front.gateway.ended(20))
    other = sorted({str(code) for code in codes if code != 0})
    return Finding(
        (
            every("answered as ever", good, starts * each),
            every("exit code 0", codes.count(0), starts),
        ),
        remark=f"Other exit codes: {', '.join(other)}." if other else "",
    )


@check(
    "I4",
    "The model has as many threads as the processors that it may use",
    tests="tests/runtime/test_session.py",
)
async def processors(bench: Bench) -> Finding:
    """Affinities, workers and settings; what `/info` says, and what the kernel counts."""
    one, last = CORES[:1], CORES[-1:]
    layouts: tuple[tuple[tuple[int, ...], int, int | None], ...] = (
        (one, 1, 1),
        (one, 1, None),
        (one, 1, 2),
        (one, 2, None),
        (last, 1, None),
        (CORES, 1, 1),
        (CORES, 1, None),
        (CORES, 1, 3),
        (CORES, 2, None),
    )
    told = counted = 0
    # Libraries have threads of their own for each processor: compared is with one thread for the model.
    base: dict[int, int] = {}
    for affinity, workers, asked in layouts:
        inference = {} if asked is None else {"threads": asked}
        tree = {"server": {"workers": workers, "drain_delay_s": 0.0}, "inference": inference}
        async with await bench.gateway(tree, cores=affinity) as gateway:
            await gateway.is_alive()
            answer = (await wire.ask(gateway.port, wire.get("/info"))).json()
            pids = gateway.children() if workers > 1 else (gateway.pid,)
            threads = [len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in pids]
        base.setdefault(len(affinity), threads[0])
        expected = asked or max(1, len(affinity) // workers)
        told += answer["threads"] == expected
        # One of the model's threads is the one that calls it, and there in any case.
        is_right = all(found == base[len(affinity)] + expected - 1 for found in threads)
        counted += is_right
        if not is_right:
            print(f"      {affinity} {workers} {asked}: {threads}, with one for the model {base}")
    n = len(layouts)
    return Finding(
        (
            every("layouts told as they are", told, n),
            every("layouts with exactly those threads", counted, n),
            noted("threads of a process with one for the model, on one processor", base[1]),
        ),
        remark="Quotas of a control group are read from files; the test suite tries those.",
    )


@check("I6", "Without free memory it refuses requests, and recovers when memory is free again")
async def no_memory(bench: Bench) -> Finding:
    """The largest batches, with 16 MiB more than the process has, and then with nothing more."""
    rounds = bench.pick(1, 2, 10)
    n, strange, back, unanswered = 60, 0, 0, 0
    body = "plan " * 800
    tree = {**UNCACHED, "limits": {"queue_timeout_ms": 5_000, "queue": 4096}}
    async with await bench.gateway(tree) as gateway:

        async def one(index: int) -> int:
            texts = [f"{index} {place} {body}" for place in range(30)]
            try:
                return (await wire.ask(gateway.port, wire.predict(texts), 20.0)).status
            except (OSError, TimeoutError):
                return 0

        for more in (16, 0):
            for _ in range(rounds):
                _limit(gateway, gateway.status("VmSize") * 1024 + more * 2**20)
                statuses = Counter(await at_once(one, range(n), 30))
                _limit(gateway, resource.RLIM_INFINITY)
                back += await gateway.is_alive()
                strange += sum(k for status, k in statuses.items() if status not in (0, 200, 503))
                if more:
                    strange += statuses[0]
                else:
                    unanswered += statuses[0]
    return Finding(
        (
            none("neither a decision nor 503", strange, 2 * n * rounds),
            every("alive when there is memory again", back, 2 * rounds),
            noted("connections that it had no memory to answer", unanswered, "", n * rounds),
        )
    )


def _limit(gateway: Gateway, size: int) -> None:
    resource.prlimit(gateway.pid, resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))
