"""Load that does not wait for answers: requests leave on schedule, latency counts from the schedule.

A generator that waits for its answers slows down with the server and hides what its users would feel.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.support import wire

REFUSED, DROPPED = "refused", "dropped"
"""The connection was refused; the answer did not come whole, or not in time."""
GIVE_UP_S = 20.0
"""A peer that forgets a request must not keep the harness waiting."""
TICKS_S = 0.0015
"""What a timer of the event loop is late by at most on a quiet machine, and a little more."""


@dataclass(slots=True)
class Load:
    """What became of a load.

    Attributes:
        sent: requests that were due.
        outcomes: by status, or `refused`, or `dropped`.
        latencies_s: from the scheduled time to the last byte, by outcome.
        codes: codes of error bodies.
        without_retry_after: refusals by 429 or 503 that do not say when to come back.
        late_s: how far the generator itself fell behind its schedule, at worst.
        took_s: from the first scheduled time to the last answer.
    """

    sent: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    latencies_s: dict[str, list[float]] = field(default_factory=dict)
    codes: Counter[str] = field(default_factory=Counter)
    without_retry_after: int = 0
    late_s: float = 0.0
    took_s: float = 0.0

    @property
    def good(self) -> int:
        """Answers with 200."""
        return self.outcomes["200"]

    @property
    def bad(self) -> int:
        """Everything else."""
        return self.sent - self.good

    @property
    def turned_away(self) -> int:
        """429 and 503."""
        return self.outcomes["429"] + self.outcomes["503"]

    @property
    def rate(self) -> float:
        """Good answers a second."""
        return self.good / self.took_s if self.took_s else 0.0

    def quantile_ms(self, share: float, *outcomes: str) -> float:
        """A latency in milliseconds, of the given outcomes (200 without any); 0 where there is none."""
        values = [value for name in outcomes or ("200",) for value in self.latencies_s.get(name, ())]
        return 1000 * quantile(values, share)

    def count(self, outcome: str, latency_s: float) -> None:
        """Count one outcome."""
        self.outcomes[outcome] += 1
        self.latencies_s.setdefault(outcome, []).append(latency_s)

    def take(self, answer: wire.Answer, due: float) -> None:
        """Count one answer."""
        outcome = str(answer.status) if answer.is_whole else DROPPED
        self.count(outcome, answer.ended_at - due)
        if answer.status >= 400:
            self.codes[answer.code()] += 1
        if answer.status in (429, 503) and "retry-after" not in answer.headers:
            self.without_retry_after += 1


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` of the values do not exceed; 0 of nothing."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Pool:
    """Connections that are kept; as many as there are requests at once."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[wire.Connection] = []
        self._all: set[wire.Connection] = set()

    async def ask(self, request: bytes) -> wire.Answer:
        """One request on an idle connection or a new one.

        Raises:
            OSError: it is refused.
            TimeoutError: its answer did not end in time.
        """
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                break
            self._all.discard(connection)
        else:
            connection = await wire.connect(self._port)
            self._all.add(connection)
        try:
            async with asyncio.timeout(GIVE_UP_S):
                answer = await connection.ask(request)
        except TimeoutError:
            connection.close()
            self._all.discard(connection)
            raise
        if answer.is_whole and answer.headers.get("connection") != "close":
            self._idle.append(connection)
        else:
            connection.close()
            self._all.discard(connection)
        return answer

    def close(self) -> None:
        """Close all."""
        for connection in self._all:
            connection.close()


async def open_loop(
    port: int,
    request_at: Callable[[int], bytes],
    rate: float,
    seconds: float,
    *,
    seed: int = 0,
    pool: Pool | None = None,
) -> Load:
    """Send at `rate` a second for `seconds`, at random (Poisson) times, whatever the answers do.

    Args:
        request_at: the bytes of request number i.
    """
    loop = asyncio.get_running_loop()
    load, own = Load(), pool or Pool(port)
    tasks: set[asyncio.Task[None]] = set()
    draw = random.Random(seed)

    async def one(index: int, due: float) -> None:
        try:
            load.take(await own.ask(request_at(index)), due)
        except TimeoutError:
            load.count(DROPPED, time.monotonic() - due)
        except OSError:
            load.count(REFUSED, time.monotonic() - due)

    begun = due = time.monotonic()
    while (due := due + draw.expovariate(rate)) - begun < seconds:
        wait = due - time.monotonic()
        if wait > 0:
            await _until(due)
        else:
            load.late_s = max(load.late_s, -wait)
            if load.sent % 8 == 0:
                await asyncio.sleep(0)
        task = loop.create_task(one(load.sent, due))
        load.sent += 1
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    if tasks:
        await asyncio.wait(set(tasks))
    load.took_s = time.monotonic() - begun
    if pool is None:
        own.close()
    return load


async def _until(due: float) -> None:
    """Wait for a moment of `time.monotonic()`.

    The loop's timers tick in milliseconds, and what they are late by would count as the server's latency. So
    the last ticks of a long wait are spent looking at the clock; a short one belongs to a rate at which a
    millisecond is nothing.
    """
    wait = due - time.monotonic()
    if wait < 2 * TICKS_S:
        await asyncio.sleep(wait)
        return
    await asyncio.sleep(wait - TICKS_S)
    while time.monotonic() < due:
        await asyncio.sleep(0)


async def closed_loop(port: int, request_at: Callable[[int], bytes], workers: int, seconds: float) -> Load:
    """`workers` that each ask again as soon as they are answered: the most that the server can do."""
    load, pool, numbers = Load(), Pool(port), iter(range(10**12))
    begun = time.monotonic()

    async def work() -> None:
        while (due := time.monotonic()) - begun < seconds:
            load.sent += 1
            try:
                load.take(await pool.ask(request_at(next(numbers))), due)
            except TimeoutError:
                load.count(DROPPED, time.monotonic() - due)
            except OSError:
                load.count(REFUSED, time.monotonic() - due)

    await asyncio.gather(*(work() for _ in range(workers)))
    load.took_s = time.monotonic() - begun
    pool.close()
    return load
