"""S: what relaying a chat costs, against the same upstream asked directly."""

import asyncio
import json
import statistics
import time

from benchmarks.serving.bytes_relay import relaying
from benchmarks.serving.suite import check
from tests.support import wire
from tests.support.fault_upstream import Call, events, streams
from tests.support.harness.bench import UNCACHED, Bench
from tests.support.harness.fronts import fronting
from tests.support.harness.measure import Finding, every, none, noted, within
from tests.support.harness.open_load import quantile
from tests.support.openai_messages import DONE, END, STREAM_HEAD, chunk, delta


@check("S4", "A relayed chat's first byte comes at most 1 ms after the decision")
async def first_byte(bench: Bench) -> Finding:
    """The same upstream asked directly and through the gateway, in turns; the decision says its time."""
    n = bench.pick(40, 300, 1000)
    through, direct, decision = [], [], []
    async with fronting(bench, local=streams(events(3)), cloud=streams(events(3)), **UNCACHED) as front:
        straight = await wire.connect(front.cloud.port)
        relayed = await wire.connect(front.gateway.port)
        for index in range(n + 10):
            request = wire.chat(bench.text(index), stream=True)
            asked = await straight.ask(request)
            routed = await relayed.ask(request)
            if index >= 10:
                direct.append(1000 * (asked.pieces[0][0] - asked.sent_at))
                through.append(1000 * (routed.pieces[0][0] - routed.sent_at))
                decision.append(float(routed.headers["x-pointsman-decision-ms"]))
            await asyncio.sleep(0.005)
        straight.close()
        relayed.close()
    over = [a - b - c for a, b, c in zip(through, direct, decision, strict=True)]
    return Finding(
        (
            within("added to the first byte beyond the decision, p50", statistics.median(over), 1.0, n=n),
            noted("decision, p50", statistics.median(decision), "ms"),
            noted("first byte through the gateway, p50", statistics.median(through), "ms"),
            noted("first byte directly, p50", statistics.median(direct), "ms"),
        ),
        (bench.seed,),
    )


@check("S5", "A relayed piece of a stream is at most 0.1 ms later")
async def per_piece(bench: Bench) -> Finding:
    """Pieces two milliseconds apart, each with the time it was sent at; directly and through the gateway."""
    turns, n = bench.pick(2, 6, 20), 200

    async def script(call: Call) -> None:
        await call.send(STREAM_HEAD)
        for _ in range(n):
            await asyncio.sleep(0.002)
            await call.send(chunk(delta(repr(time.monotonic()))))
        await call.send(chunk(DONE) + END)

    def delays(answer: wire.Answer) -> list[float]:
        found = []
        for at, data in answer.pieces:
            for line in data.split(b"\n\n"):
                if line.startswith(b"data: {"):
                    sent = float(json.loads(line[6:])["choices"][0]["delta"]["content"])
                    found.append(1000 * (at - sent))
        return found[5:]

    added, bare, used = [], [], 0.0
    async with fronting(bench, cloud=script) as front, relaying(front.cloud.port) as bytes_port:
        request = wire.chat("q", model="cloud", stream=True)
        for _ in range(turns):
            straight = quantile(delays(await wire.ask(front.cloud.port, request)), 0.5)
            before = front.gateway.cpu_s
            relayed = quantile(delays(await wire.ask(front.gateway.port, request)), 0.5)
            used += front.gateway.cpu_s - before
            added.append(relayed - straight)
            bare.append(quantile(delays(await wire.ask(bytes_port, request)), 0.5) - straight)
    return Finding(
        (
            within("added per piece, p50", statistics.median(added), 0.1, n=turns * n),
            noted("the same by a relay of bytes and nothing else", statistics.median(bare), "ms"),
            noted("processor time of the gateway per piece", 1e6 * used / (turns * n), "us"),
        )
    )


@check("S6", "A thousand streams at once on one core, and none loses a byte")
async def thousand(bench: Bench) -> Finding:
    """Every stream is held open by its upstream, with an event now and then."""
    n, count, gap_s = bench.pick((200, 5, 0.4), (1000, 10, 1.0), (1000, 30, 1.0))
    pieces = events(count)
    whole = b"".join(pieces)
    async with fronting(bench, cloud=streams(pieces, gap_s)) as front:
        found = await front.chats(n, n, timeout_s=300, stream=True)
        most, memory = front.cloud.most_open, front.gateway.rss_mb
    return Finding(
        (
            every("streams that arrived whole", sum(a.body == whole and a.is_whole for a in found), n),
            every("held at once", most, n),
            none("bytes lost", sum(len(whole) - len(a.body) for a in found), n * len(whole)),
            noted("memory", memory, "MiB"),
        )
    )
