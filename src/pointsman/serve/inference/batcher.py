"""Concurrent requests to batches, off the event loop, behind a bounded queue.

Each thread runs one batch at a time, side by side with the others. What queued up while all were busy becomes
the next batch of the first that is free, so a lone request waits for no other. Nothing here depends on HTTP,
labels or artifacts. It has more than 300 lines, because all of them run in the worker's one loop.
"""

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from pointsman.serve.failures import GatewayError
from pointsman.serve.inference.batch_queue import BatchQueue, Job, QueueItem

K = TypeVar("K")
T = TypeVar("T")

_WAIT_SHARE = 0.5
"""A request that would spend more than this share of its time in the queue is refused at once."""
_WAIT_SHARE_LOST, _WAIT_SHARE_WON = 0.9, 0.001
"""The share times the first after a request expired, plus the second after any other batch."""
_SHORT_TURN_S, _MOST_YIELD_S = 0.005, 1.0
_MEMORY = 0.98
"""How much of the measured pace is kept at each batch."""


class BatchFailedError(Exception):
    """The model failed in a way that is no `Exception`, for example a panic of a native library."""


@dataclass(slots=True)
class BatcherStats:
    """Counts since the start; written by the event loop (`refused`) or under one of the batcher's locks."""

    runs: int = 0
    texts: int = 0
    expired: int = 0
    refused: int = 0
    queued_s: float = 0.0
    run_s: float = 0.0


class Batcher(Generic[K, T]):
    """Threads that answer jobs in batches.

    Args:
        run: texts of one version to one result each, in order; called in the batcher's threads, at once.
        cost: tokens of a text, about, at least 1.
        max_batch: texts in one call of `run` at most.
        max_cost: tokens in one call of `run` at most; a longer text goes alone.
        max_queue: texts that may wait.
        threads: batches run side by side, at least 1.
        wait_s: seconds to wait for a batch to fill; 0 runs what is queued.
        idle: called with the last batch when nothing is waiting; for work that may be skipped.
        on_answered: called in the task that submitted, with the seconds that a job waited and then was run.
    """

    def __init__(
        self,
        run: Callable[[K, list[str]], list[T]],
        *,
        cost: Callable[[str], int],
        max_batch: int,
        max_cost: int,
        max_queue: int,
        threads: int = 1,
        wait_s: float = 0.0,
        idle: Callable[[K, list[str], list[T]], None] | None = None,
        on_answered: Callable[[float, float], None] | None = None,
    ) -> None:
        self._run = run
        self._cost = cost
        self._on_answered = on_answered
        self._idle = idle
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._wait_s = wait_s
        # Held by the thread that gathers the next batch, while the others run theirs.
        self._turn = threading.Lock()
        # Held while results, counts and the pace are written: a job's texts may be in several batches.
        self._results = threading.Lock()
        self._idling = threading.Lock()
        self._inbox: queue.SimpleQueue[Job[K, T] | None] = queue.SimpleQueue()
        self._queue: BatchQueue[K, T] = BatchQueue(max_batch, max_cost, threads)
        # Texts and tokens that ever came, counted by the event loop, and that ever left, under `_turn`.
        self._came, self._came_cost = 0, 0
        self._left, self._left_cost = 0, 0
        self._pace_s = self._pace_cost = 0.0
        self._wait_share = _WAIT_SHARE
        self._refused_before = 0
        self._is_stopping = False
        self._threads = [
            threading.Thread(target=self._work, name=f"pointsman-batcher-{number}", daemon=True)
            for number in range(threads)
        ]
        self.stats = BatcherStats()

    @property
    def threads(self) -> int:
        """Batches that run side by side at most."""
        return len(self._threads)

    @property
    def depth(self) -> int:
        """Texts that wait."""
        return self._came - self._left

    @property
    def wait_s(self) -> float:
        """Seconds until the waiting texts are read, by the model's recent pace."""
        if not self._pace_cost:
            return 0.0
        waiting = (self._came_cost - self._left_cost) * self._pace_s / self._pace_cost
        return waiting / self.threads

    @property
    def is_alive(self) -> bool:
        """Whether every thread is there."""
        return all(thread.is_alive() for thread in self._threads)

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Finish what is queued, then end the threads."""
        self._inbox.put(None)
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(timeout=10)

    async def submit(
        self, key: K, texts: Sequence[str], expires: float, is_wanted: Callable[[], bool] = lambda: True
    ) -> list[T]:
        """One result per text; called in one event loop.

        Args:
            key: the version that shall answer.
            texts: at least one.
            expires: `time.monotonic()` after which the answer is not needed, unless it was begun.
            is_wanted: whether the client still waits; called in a batcher's thread.

        Raises:
            GatewayError: `overloaded` at once, `queue_timeout` when it was not its turn in time.
        """
        now, waiting = time.monotonic(), self.depth
        is_full = waiting + len(texts) > self._max_queue
        if waiting and (is_full or self.wait_s > self._wait_share * (expires - now)):
            self.stats.refused += 1
            raise GatewayError("overloaded", "too many texts are waiting for the classifier; try again")
        future: asyncio.Future[list[T]] = asyncio.get_running_loop().create_future()
        job = Job(key, texts, [self._cost(text) for text in texts], future, now, expires, is_wanted)
        self._came += len(texts)
        self._came_cost += sum(job.costs)
        self._inbox.put(job)
        results = await future
        if self._on_answered is not None:
            self._on_answered(job.taken - job.enqueued, time.monotonic() - job.taken)
        return results

    def _work(self) -> None:
        while (items := self._next_batch()) is not None:
            if items:
                self._answer(items)

    def _next_batch(self) -> list[QueueItem] | None:
        """Wait for texts and take a batch of them; None to end."""
        with self._turn:
            if not self._gather():
                return None
            self._yield()
            now = time.monotonic()
            self._dismiss(now)
            items = self._queue.next_batch()
            self._take(items, now)
            return items

    def _gather(self) -> bool:
        """Queue the jobs that have come, and wait for one if there is none; False to end."""
        until = 0.0
        while not self._is_stopping:
            try:
                if not self._queue:
                    job = self._inbox.get()
                    until = time.monotonic() + self._wait_s
                elif len(self._queue) < self._max_batch and (rest := until - time.monotonic()) > 0:
                    job = self._inbox.get(timeout=rest)
                else:
                    job = self._inbox.get_nowait()
            except queue.Empty:
                break
            if job is None:
                self._is_stopping = True
            else:
                self._queue.add(job)
        return bool(self._queue) or not self._is_stopping

    def _yield(self) -> None:
        """While requests are refused, start no batch before the event loop is through with what has come.

        On one processor the two would share it evenly, and a loop that needs more falls behind: requests wait
        uncounted, and to refuse one takes seconds. A turn that is short again says that it is
        through.
        """
        refused = self.stats.refused
        if refused == self._refused_before or not self._queue:
            return
        self._refused_before = refused
        loop, begun = self._queue.first.future.get_loop(), time.monotonic()
        now = begun
        while now - begun < _MOST_YIELD_S:
            turn, before = threading.Event(), now
            try:
                loop.call_soon_threadsafe(turn.set)
            except RuntimeError:
                return  # The loop is closed.
            turn.wait(_MOST_YIELD_S)
            now = time.monotonic()
            if now - before < _SHORT_TURN_S:
                return

    def _dismiss(self, now: float) -> None:
        """Drop jobs that have waited too long, and jobs whose client has gone."""
        gone = self._queue.leave(lambda job: _is_void(job, now))
        if not gone:
            self._wait_share = min(_WAIT_SHARE, self._wait_share + _WAIT_SHARE_WON)
            return
        self._count_out(gone)
        jobs = {id(item.job): item.job for item in gone if not item.job.is_over}
        self.stats.expired += len(jobs)
        if any(job.expires <= now for job in jobs.values()):
            self._wait_share *= _WAIT_SHARE_LOST
        late = GatewayError("queue_timeout", "the classifier did not get to it in time; try again")
        self._deliver([(job, late) for job in jobs.values()])

    def _take(self, items: Sequence[QueueItem], now: float) -> None:
        self._count_out(items)
        for item in items:
            item.job.taken = item.job.taken or now
            self.stats.queued_s += now - item.job.enqueued

    def _count_out(self, items: Sequence[QueueItem]) -> None:
        self._left += len(items)
        self._left_cost += sum(item.cost for item in items)

    def _answer(self, items: list[QueueItem]) -> None:
        outcome = self._attempt(items)
        if isinstance(outcome, BaseException):
            self._fail(items, outcome)
            return
        done: list[tuple[Job[K, T], list[T] | BaseException]] = []
        with self._results:
            for item, result in zip(items, outcome, strict=True):
                job = item.job
                job.results[item.position] = result
                if job.is_done:
                    job.is_over = True
                    done.append((job, [job.results[index] for index in range(len(job.texts))]))
        self._deliver(done)
        self._use_idle_time(items, outcome)

    def _use_idle_time(self, items: list[QueueItem], results: list[T]) -> None:
        """Call `idle` where nothing waits, on one thread at a time."""
        if self._idle is None or self._queue or not self._inbox.empty():
            return
        if self._idling.acquire(blocking=False):
            # Skippable work must not end the thread, whatever it raises.
            with contextlib.suppress(BaseException):
                self._idle(items[0].job.key, [item.text for item in items], results)
            self._idling.release()

    def _fail(self, items: list[QueueItem], error: BaseException) -> None:
        """One bad text must not fail its batch mates: each job is tried by itself, and fails by itself."""
        jobs = {id(item.job): item.job for item in items}
        if len(jobs) > 1:
            for job in jobs.values():
                self._answer([item for item in items if item.job is job])
            return
        for job in jobs.values():
            job.is_over = True
            self._deliver([(job, error)])

    def _attempt(self, items: list[QueueItem]) -> list[T] | BaseException:
        texts = [item.text for item in items]
        started, used = time.monotonic(), time.thread_time()
        try:
            results = self._run(items[0].job.key, texts)
        except Exception as error:  # noqa: BLE001 - it is handed to who asked
            return error
        except BaseException as error:  # noqa: BLE001 - a native panic; the thread has to live on
            return BatchFailedError(type(error).__name__)
        finally:
            with self._results:
                self.stats.runs += 1
                self.stats.texts += len(texts)
                self.stats.run_s += time.monotonic() - started
                self._measure(time.thread_time() - used, sum(item.cost for item in items))
        if len(results) != len(texts):
            return BatchFailedError("as many results as texts were expected")
        return results

    def _measure(self, used_s: float, cost: int) -> None:
        """Remember the processor time of a batch.

        By the clock it would grow with what is refused meanwhile, and have still more refused.
        """
        self._pace_s = _MEMORY * self._pace_s + used_s
        self._pace_cost = _MEMORY * self._pace_cost + cost

    def _deliver(self, answers: Sequence[tuple[Job[K, T], list[T] | BaseException]]) -> None:
        """Hand results to the event loop of who asked, in one call."""
        if not answers:
            return
        # A closed loop refuses: no request is left.
        with contextlib.suppress(RuntimeError):
            answers[0][0].future.get_loop().call_soon_threadsafe(_settle, answers)


def _is_void(job: Job[K, T], now: float) -> bool:
    """Whether the rest of a job is not needed; one that was begun in time is finished."""
    if job.is_over or job.future.cancelled() or not job.is_wanted():
        return True
    return not job.taken and job.expires <= now


def _settle(answers: Sequence[tuple[Job[K, T], list[T] | BaseException]]) -> None:
    for job, answer in answers:
        if job.future.done():
            continue
        if isinstance(answer, BaseException):
            job.future.set_exception(answer)
        else:
            job.future.set_result(answer)
