"""I: memory, threads and descriptors over many requests."""

import math
import statistics

from tests.reliability.suite import check
from tests.support import wire
from tests.support.harness.bench import UNCACHED, Bench
from tests.support.harness.fronts import at_once
from tests.support.harness.measure import Finding, at_most, none, noted
from tests.support.harness.open_load import Pool


def slope_t(values: list[float]) -> float:
    """The t statistic of a straight line's slope through the values."""
    n = len(values)
    xs = range(n)
    line = statistics.linear_regression(xs, values)
    rest = [y - line.intercept - line.slope * x for x, y in zip(xs, values, strict=True)]
    error = math.sqrt(sum(r * r for r in rest) / (n - 2) / sum((x - (n - 1) / 2) ** 2 for x in xs))
    return line.slope / error if error else 0.0


@check(
    "I1",
    "Memory stays flat over many requests of all lengths and batch sizes",
    reference="Triton: 100 MB allowed; LiteLLM: 150 MB in 2,000",
)
async def flat(bench: Bench) -> Finding:
    """1 to 128 tokens, 1 to 16 texts a request; resident memory at intervals after a warm-up."""
    warm, n, every_ = bench.pick((300, 1_500, 100), (1_000, 6_000, 300), (5_000, 100_000, 1_000))
    draw = bench.random("I1")
    words = [bench.text(index).split()[0] for index in range(200)]

    def one(index: int) -> bytes:
        texts = [" ".join(draw.choices(words, k=draw.randint(1, 100))) for _ in range(draw.randint(1, 16))]
        return wire.predict([f"{index} {text}" for text in texts])

    bad = 0
    memory: list[float] = []
    async with await bench.gateway({**UNCACHED, "limits": {"queue_timeout_ms": 60_000}}) as gateway:
        pool = Pool(gateway.port)

        async def ask(index: int) -> int:
            return (await pool.ask(one(index))).status

        for start in range(0, warm + n, every_):
            statuses = await at_once(ask, range(start, start + every_), 2)
            bad += sum(status != 200 for status in statuses)
            if start >= warm:
                memory.append(gateway.rss_mb)
        files, threads = gateway.files, gateway.status("Threads")
        pool.close()
    tail = memory[len(memory) // 2 :]
    growth = statistics.median(memory[-3:]) - statistics.median(memory[:3])
    return Finding(
        (
            none("failed requests", bad, warm + n),
            at_most("growth after the warm-up", growth, 15.0, "MiB", n),
            at_most("the same, of what it was", 100 * growth / statistics.median(memory[:3]), 3.0, "%", n),
            noted(
                "t of the slope in the second half", slope_t(tail) if len(tail) > 3 else 0.0, "", len(tail)
            ),
            noted("at the end", memory[-1], "MiB"),
            noted("descriptors, threads at the end", files, f"and {threads}"),
        ),
        (bench.seed,),
    )
