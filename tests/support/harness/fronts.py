"""A gateway in front of two scripted upstreams, and many requests at once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from tests.support import wire
from tests.support.fault_upstream import FaultUpstream, Script, answers
from tests.support.harness.bench import Bench
from tests.support.harness.measure import Measure, every
from tests.support.process import Gateway, merged

T = TypeVar("T")
BOTH_WAYS = ["local-to-cloud", "cloud-to-local"]
NEVER_OPEN = 10**6
"""Failures in a row that no check reaches: the breaker stays out of it."""


@dataclass(slots=True)
class Front:
    """The three of them."""

    gateway: Gateway
    local: FaultUpstream
    cloud: FaultUpstream

    async def ask(self, request: bytes, timeout_s: float = 60.0) -> wire.Answer:
        """One request on a connection of its own."""
        return await wire.ask(self.gateway.port, request, timeout_s)

    async def chats(
        self, n: int, width: int, model: str = "cloud", timeout_s: float = 60.0, **fields: Any
    ) -> list[wire.Answer]:
        """`n` chats, each on a connection of its own and with a text of its own, `width` at a time."""
        requests = [wire.chat(f"q{index}", model=model, **fields) for index in range(n)]
        return await at_once(lambda index: self.ask(requests[index], timeout_s), range(n), width)


@contextlib.asynccontextmanager
async def fronting(
    bench: Bench,
    *,
    local: Script | None = None,
    cloud: Script | None = None,
    upstream: dict[str, Any] | None = None,
    how: dict[str, Any] | None = None,
    **tables: Any,
) -> AsyncIterator[Front]:
    """Start them; `upstream` goes into the settings of both, `how` to the start, the rest into its table."""
    async with FaultUpstream(local or answers()) as one, FaultUpstream(cloud or answers()) as two:
        both = {
            name: {"url": made.url, "model": f"{name}-model", **(upstream or {})}
            for name, made in (("local", one), ("cloud", two))
        }
        settings = merged({"upstreams": both, "routing": {"stream_decision": "off"}}, tables)
        async with await bench.gateway(settings, **(how or {})) as gateway:
            yield Front(gateway, one, two)


async def at_once(work: Callable[[int], Awaitable[T]], numbers: Iterable[int], width: int) -> list[T]:
    """`work` on every number, `width` at a time; the results in order."""
    gate = asyncio.Semaphore(width)

    async def one(number: int) -> T:
        async with gate:
            return await work(number)

    return await asyncio.gather(*(one(number) for number in numbers))


async def still_alive(gateway: Gateway) -> Measure:
    """That the next good request is answered, after everything else."""
    return every("alive afterwards", await gateway.is_alive(), 1)


def has_error_event(body: bytes) -> bool:
    """Whether a stream's last event is the one error that the gateway tells."""
    return body.endswith(b"\n\n") and body.rstrip().rsplit(b"\n\n", 1)[-1].startswith(b'data: {"error"')


def before_error(body: bytes) -> bytes:
    """What a stream said before its error event."""
    return body.partition(b'data: {"error"')[0]
