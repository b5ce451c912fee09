"""Which texts the model reads next: order alone, without a thread and without a clock.

First come, first served makes a short text wait for a batch of long ones; the shortest first starves the
long ones. Here a text is due some time after it came, in proportion to its length, and the first that is
due is next: no text is overtaken by what came later than that. Texts of like length join it up to a bounded
cost, so no batch holds the model for long.
"""

import asyncio
import math
from bisect import insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

K = TypeVar("K")
T = TypeVar("T")

GIVES_WAY_S, GIVES_WAY_SHARE = 0.0004, 1 / 3
"""Seconds a token by which a text gives way to later ones: six times what a token takes without VNNI, and at
most this share of the time that its request may wait."""
_LIKE = 2
"""A batch holds texts up to this many times as long as the text that leads it."""


@dataclass(slots=True, eq=False)
class Job(Generic[K, T]):
    """The texts of one request, for one version of the router.

    Attributes:
        costs: tokens of each text, about.
        is_wanted: whether its client still waits.
        enqueued, expires, taken: `time.monotonic()`; `taken` is 0.0 until the model gets the first text.
        results: in the order of the texts; filled batch by batch.
        is_over: it was answered, or failed; its other texts are not needed.
    """

    key: K
    texts: Sequence[str]
    costs: Sequence[int]
    future: "asyncio.Future[list[T]]"
    enqueued: float
    expires: float
    is_wanted: Callable[[], bool]
    taken: float = 0.0
    results: dict[int, T] = field(default_factory=dict)
    is_over: bool = False

    @property
    def is_done(self) -> bool:
        """Whether every text has its result."""
        return len(self.results) == len(self.texts)


class QueueItem(NamedTuple):
    """One text in the line; items compare by when they are due, then by arrival."""

    due: float
    number: int
    cost: int
    job: Job[Any, Any]
    position: int

    @property
    def text(self) -> str:
        """What the model shall read."""
        return self.job.texts[self.position]


class BatchQueue(Generic[K, T]):
    """Texts that wait.

    Args:
        max_texts: in one batch at most.
        max_cost: tokens in one batch at most; a text that is longer goes alone.
        readers: how many take batches side by side.
    """

    def __init__(self, max_texts: int, max_cost: int, readers: int = 1) -> None:
        self._max_texts = max_texts
        self._max_cost = max_cost
        self._readers = readers
        self._items: list[QueueItem] = []
        self._arrivals = 0

    def __len__(self) -> int:
        return len(self._items)

    @property
    def first(self) -> Job[K, T]:
        """Whose text is due first; the queue must not be empty."""
        return self._items[0].job

    def add(self, job: Job[K, T]) -> None:
        """Put the texts of a job in line."""
        most = GIVES_WAY_SHARE * (job.expires - job.enqueued)
        for index, cost in enumerate(job.costs):
            self._arrivals += 1
            due = job.enqueued + min(most, GIVES_WAY_S * cost)
            insort(self._items, QueueItem(due, self._arrivals, cost, job, index))

    def leave(self, is_leaving: Callable[[Job[K, T]], bool]) -> list[QueueItem]:
        """Take out the texts of jobs that are not worth running any more.

        Each job is asked once: its client may go at any time, and an answer that changed in between would
        lose a text that is neither here nor gone.
        """
        leaving = {key for key, job in {id(p.job): p.job for p in self._items}.items() if is_leaving(job)}
        gone = [item for item in self._items if id(item.job) in leaving]
        if gone:
            self._items = [item for item in self._items if id(item.job) not in leaving]
        return gone

    def next_batch(self) -> list[QueueItem]:
        """Take out the text that is due first, and those of its version that are nearest to it in length.

        Returns:
            Places of one version, with a cost within bounds; none where the queue is empty.
        """
        if not self._items:
            return []
        lead = self._items[0]
        mates = [
            item for item in self._items if item.cost <= _LIKE * lead.cost and item.job.key is lead.job.key
        ]
        mates.sort(key=lambda item: abs(item.cost - lead.cost))
        batch: list[QueueItem] = []
        cost = 0
        # One that took all would leave the next reader without work until new texts come.
        share = math.ceil(len(self._items) / self._readers)
        for item in mates[: min(self._max_texts, share)]:
            if batch and cost + item.cost > self._max_cost:
                break
            batch.append(item)
            cost += item.cost
        taken = {item.number for item in batch}
        self._items = [item for item in self._items if item.number not in taken]
        return batch
