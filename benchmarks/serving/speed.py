"""S: how much serving costs over the bare router."""

import statistics

from benchmarks.serving.bare_router import BareRouter
from benchmarks.serving.peer import EMPTY, start
from benchmarks.serving.suite import check
from tests.support import wire
from tests.support.harness.bench import UNCACHED, Bench
from tests.support.harness.measure import Finding, Measure, noted, reaches, within
from tests.support.harness.open_load import closed_loop, open_loop

BATCHES = (1, 8, 32)
SHARE = 0.7


@check("S1", "Serving keeps at least 70 % of the bare router's throughput, on the same core and batch sizes")
async def throughput(bench: Bench) -> Finding:
    """`route_many` and `/predict` take turns; the ratio is the median of the turns."""
    turns, seconds = bench.pick(1, 3, 5), bench.pick(1.0, 2.0, 5.0)
    alone = await BareRouter.start()
    measures: list[Measure] = []
    async with await bench.gateway(UNCACHED) as gateway:
        for size in BATCHES:
            lists = [[bench.text(size * i + j) for j in range(size)] for i in range(max(8, 512 // size))]
            requests = [wire.predict(texts if size > 1 else texts[0]) for texts in lists]
            # As many as the queue of 64 texts takes beside the request that is answered: who is refused asks
            # again at once, and refusals would take half of the core.
            workers = 32 if size == 1 else min(4, 1 + 64 // size)
            ratios, cpu, bare, served, gathered = [], [], [], [], []
            for _ in range(turns):
                before, used = await gateway.metrics(), gateway.cpu_s
                load = await closed_loop(
                    gateway.port,
                    lambda i, r=requests: r[i % len(r)],  # type: ignore[misc]
                    workers,
                    seconds,
                )
                after, used = await gateway.metrics(), gateway.cpu_s - used
                runs = after["pointsman_model_runs"] - before["pointsman_model_runs"]
                gathered.append((after["pointsman_model_texts"] - before["pointsman_model_texts"]) / runs)
                # One text a request is gathered into batches by the server: the router gets the same sizes.
                near = max(size, round(gathered[-1]))
                flat = [text for texts in lists for text in texts]
                batches = [flat[i : i + near] for i in range(0, len(flat) - near + 1, near)]
                found = await alone.measure(batches, seconds)
                bare.append(found["texts_per_s"])
                served.append(load.rate * size)
                ratios.append(served[-1] / bare[-1])
                cpu.append(found["cpu_us"] / (1e6 * used / max(1, load.good * size)))
            what = f"{size} text{'s' if size > 1 else ''} a request"
            measures += [
                reaches(f"share of route_many, {what}", statistics.median(ratios), SHARE, n=turns),
                noted(f"the same by processor time, {what}", statistics.median(cpu)),
                noted(f"served, {what}", statistics.median(served), "texts/s"),
                noted(
                    f"route_many at {statistics.median(gathered):.1f} texts a call",
                    statistics.median(bare),
                    "texts/s",
                ),
            ]
    await alone.stop()
    return Finding(tuple(measures), (bench.seed,))


@check("S2", "At low load a decision over HTTP costs at most 1 ms more than a call of `route`")
async def added_latency(bench: Bench) -> Finding:
    """50 requests a second against the same calls in a process, in turns; medians of the turns.

    Beside them, as often and by the same client: an empty FastAPI route, and our own that asks no model.
    """
    turns, seconds = bench.pick(1, 3, 5), bench.pick(2.0, 4.0, 10.0)
    alone = await BareRouter.start()
    texts = [[bench.text(i)] for i in range(256)]
    added, served, bare, p99, empty, idle = [], [], [], [], [], []
    framework, port = await start(EMPTY)
    async with await bench.gateway(UNCACHED) as gateway:
        for turn in range(turns):
            floor = await open_loop(port, bench.predict, 50, seconds, seed=bench.seed + turn)
            empty.append(floor.quantile_ms(0.5))
            alive = await open_loop(
                gateway.port, lambda _: wire.get("/livez"), 50, seconds, seed=bench.seed + turn
            )
            idle.append(alive.quantile_ms(0.5))
            load = await open_loop(gateway.port, bench.predict, 50, seconds, seed=bench.seed + turn)
            found = await alone.measure(texts, seconds, 0.018)
            served.append(load.quantile_ms(0.5))
            p99.append(load.quantile_ms(0.99))
            bare.append(found["p50_ms"])
            added.append(served[-1] - bare[-1])
    await framework.stop()
    await alone.stop()
    return Finding(
        (
            within("added at p50", statistics.median(added), 1.0, n=turns),
            noted("over HTTP, p50", statistics.median(served), "ms"),
            noted("over HTTP, p99", statistics.median(p99), "ms"),
            noted("route, p50", statistics.median(bare), "ms"),
            noted(f"{EMPTY.name}, p50", statistics.median(empty), "ms"),
            noted("/livez, p50", statistics.median(idle), "ms"),
        ),
        (bench.seed,),
        f"{EMPTY.name}: {EMPTY.what}. That much HTTP costs this client before anybody decides.",
    )
