"""S: what a decision costs in a protocol of decision models, against our own route."""

import asyncio
import json
import statistics

from benchmarks.serving.suite import check
from tests.support import wire
from tests.support.harness.bench import UNCACHED, Bench
from tests.support.harness.measure import Finding, noted, within

_QUESTIONS = {"target": {"type": "choice", "criteria": {"local": "easy", "cloud": "hard"}}}


@check("S7", "A decision by `/v1/systemone` costs at most 0.2 ms more than by `/predict`")
async def systemone(bench: Bench) -> Finding:
    """Each text asked by both routes in turn on one kept connection; the first route alternates."""
    n = bench.pick(60, 500, 2000)
    took: dict[str, list[float]] = {"/predict": [], "/v1/systemone": []}
    async with await bench.gateway(UNCACHED) as gateway:
        connection = await wire.connect(gateway.port)
        for index in range(n + 20):
            text = bench.text(index)
            body = json.dumps({"model": "router", "state": text, "questions": _QUESTIONS}).encode()
            asked = [("/predict", wire.predict(text)), ("/v1/systemone", wire.request("/v1/systemone", body))]
            for name, request in asked[:: -1 if index % 2 else 1]:
                answer = await connection.ask(request)
                assert answer.status == 200, answer.body
                if index >= 20:
                    took[name].append(1000 * (answer.ended_at - answer.sent_at))
            await asyncio.sleep(0.002)
        connection.close()
    p50 = {name: statistics.median(found) for name, found in took.items()}
    return Finding(
        (
            within("added at p50", p50["/v1/systemone"] - p50["/predict"], 0.2, n=n),
            *(noted(f"{name}, p50", value, "ms") for name, value in p50.items()),
        ),
        (bench.seed,),
    )
