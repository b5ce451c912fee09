"""S: other servers of the same ONNX file, on the same core, in the same run."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from benchmarks.serving.bare_router import BareRouter
from benchmarks.serving.peer import Peer, start
from benchmarks.serving.suite import check
from tests.support import wire
from tests.support.harness.bench import UNCACHED, Bench
from tests.support.harness.measure import Finding, Measure, noted, reaches
from tests.support.harness.open_load import closed_loop, open_loop
from tests.support.places import PEERS as INSTALLED
from tests.support.places import ROOT

P99_MS = 100.0
SHARES = tuple(percent / 100 for percent in range(95, 35, -5))


def _by_query(text: str) -> bytes:
    return wire.request(f"/predict?query={quote(text)}", b"")


PEERS = (
    Peer(
        "the guide's FastAPI pattern",
        "FastAPI under uvicorn as it comes (uvloop, httptools, access log), transformers' fast tokenizer, "
        "one blocking run in an `async def`, ONNX Runtime with one thread for its one core",
        Path(sys.executable),
        lambda artifact, model, port: [
            *("-m", "uvicorn", "benchmarks.serving.servers.fastapi_blocking:app", "--port", str(port))
        ],
        _by_query,
    ),
    Peer(
        "LitServe, batched",
        "one worker, at most 32 texts or 2 ms a batch, ONNX Runtime with one thread",
        INSTALLED / "litserve" / "bin" / "python",
        lambda *given: [str(ROOT / "benchmarks/serving/servers/litserve_batched.py"), *map(str, given)],
        wire.predict,
    ),
)


async def sustained(port: int, request_at: Callable[[int], bytes], seconds: float) -> tuple[float, float]:
    """The highest offered rate, of a few shares of its own most, with a p99 of at most 100 ms and no failure.

    A machine that stands still for a moment spoils a try, of whichever server: two of three have to hold.

    Returns:
        requests a second, and the most with 32 clients that ask again at once.
    """
    await closed_loop(port, request_at, 32, seconds / 2)
    most = max(1.0, (await closed_loop(port, request_at, 32, seconds)).rate)
    for share in SHARES:
        held: list[float] = []
        for tries_left in (2, 1, 0):
            load = await open_loop(port, request_at, share * most, seconds)
            if not load.bad and load.quantile_ms(0.99) <= P99_MS:
                held.append(load.rate)
            await asyncio.sleep(0.5)
            if len(held) == 2 or len(held) + tries_left < 2:
                break
        if len(held) == 2:
            return sum(held) / 2, most
    return 0.0, most


@check(
    "S3", "Five times the throughput of the usual FastAPI server at the same p99, and more than its peers'"
)
async def peers(bench: Bench) -> Finding:
    """The same texts and ONNX file; the rate that each server sustains with a p99 of at most 100 ms."""
    if bench.size == "small":
        return Finding((), remark="Not in a small run: a second each would say nothing.")
    seconds = bench.pick(1.0, 3.0, 10.0)
    measures: list[Measure] = []
    remarks = []

    async with await bench.gateway(UNCACHED) as gateway:
        ours, most = await sustained(gateway.port, bench.predict, seconds)
    alone = await BareRouter.start()
    batches = [[bench.text(32 * i + j) for j in range(32)] for i in range(16)]
    model = (await alone.measure(batches, seconds))["texts_per_s"]
    await alone.stop()
    measures += [
        noted("pointsman, at p99 <= 100 ms", ours, "requests/s"),
        noted("pointsman, most", most, "requests/s"),
        noted("route_many without a server, 32 texts a call", model, "texts/s"),
    ]
    for peer in PEERS:
        if not peer.python.exists():
            remarks.append(f"{peer.name}: not installed here (`nox -s peers`).")
            continue
        try:
            server, port = await start(peer)
        except RuntimeError as error:
            remarks.append(str(error).replace("\n", " "))
            continue
        try:
            theirs, their_most = await sustained(port, lambda i, p=peer: p.ask(bench.text(i)), seconds)  # type: ignore[misc]
        finally:
            await server.stop()
        remarks.append(f"{peer.name}: {peer.what}.")
        target = 5.0 if peer is PEERS[0] else 1.0
        if theirs:
            measures += [
                reaches(f"pointsman over {peer.name}, at p99 <= 100 ms", ours / theirs, target),
                # No server of this model on this core can be further ahead than that.
                noted(f"route_many without a server over {peer.name}", model / theirs),
            ]
        else:
            remarks.append(f"{peer.name} kept no rate at that p99: there is no ratio.")
        measures += [
            noted(f"{peer.name}, at p99 <= 100 ms", theirs, "requests/s"),
            noted(f"{peer.name}, most", their_most, "requests/s"),
        ]
    return Finding(tuple(measures), (bench.seed,), " ".join(remarks))
