"""The router without a server, in a process of its own on the server's core: what serving is compared with.

Reads one JSON object a line: `{"texts": [[...], ...], "seconds": s, "gap_s": g}`; calls `route_many` on
each list in turn for `seconds`, `gap_s` apart, and writes `{"texts_per_s", "cpu_us", "p50_ms", "p99_ms",
"calls"}`; `cpu_us` is processor time a text.
"""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from tests.support.harness.open_load import quantile
from tests.support.places import ROOT
from tests.support.process import SERVER_CORE, pin


class BareRouter:
    """The bare router in its process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls) -> "BareRouter":
        """Start it; the first answer comes when the model is loaded."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.serving.bare_router"),
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=2**22,
        )
        made = cls(process)
        await made.measure([["hello"]], 0.2)
        return made

    async def measure(self, batches: list[list[str]], seconds: float, gap_s: float = 0.0) -> dict[str, Any]:
        """Call `route_many` on the batches in turn, for a number of seconds."""
        assert self._process.stdin is not None and self._process.stdout is not None
        asked = {"texts": batches, "seconds": seconds, "gap_s": gap_s}
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        return dict(json.loads(await self._process.stdout.readline()))

    async def stop(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


def measure(batches: Sequence[list[str]], seconds: float, gap_s: float) -> dict[str, float]:
    """Call in turn until the time is over."""
    calls: list[float] = []
    texts = 0
    cpu = time.process_time()
    begun = time.perf_counter()
    while time.perf_counter() - begun < seconds:
        batch = batches[len(calls) % len(batches)]
        started = time.perf_counter()
        ROUTER.route_many(batch)
        calls.append(time.perf_counter() - started)
        texts += len(batch)
        if gap_s:
            time.sleep(gap_s)
    return {
        "texts_per_s": texts / sum(calls),
        "cpu_us": 1e6 * (time.process_time() - cpu) / texts,
        "p50_ms": 1000 * quantile(calls, 0.5),
        "p99_ms": 1000 * quantile(calls, 0.99),
        "calls": len(calls),
    }


if __name__ == "__main__":
    pin(SERVER_CORE)
    from pointsman import Router
    from pointsman.runtime.session import SessionConfig

    ROUTER = Router.open(sys.argv[1] if len(sys.argv) > 1 else None, session=SessionConfig(threads=1))
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(measure(asked["texts"], asked["seconds"], asked["gap_s"])), flush=True)
