"""Concurrent requests to batches, off the event loop, behind a bounded queue.

One thread runs the model. Whatever queued up while it was busy becomes its next batch, so a lone request
waits for nobody and a crowd is gathered by itself. It refuses to know HTTP, labels and artifacts.
"""

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from pointsman.serve.failures import GatewayError

K = TypeVar("K")
T = TypeVar("T")


class BatchFailedError(Exception):
    """The model failed in a way that is no `Exception`, for example a panic of a native library."""


@dataclass(slots=True, eq=False)
class Job(Generic[K, T]):
    """Some texts of one request, for one version of the router."""

    key: K
    texts: Sequence[str]
    future: "asyncio.Future[list[T]]"
    enqueued: float
    expires: float
    taken: float = 0.0


@dataclass(slots=True)
class BatcherStats:
    """Counts since the start; written by the batcher's thread and the event loop, one writer per field."""

    runs: int = 0
    texts: int = 0
    expired: int = 0
    refused: int = 0
    queued_s: float = 0.0
    run_s: float = 0.0


class Batcher(Generic[K, T]):
    """A thread that answers jobs in batches.

    Args:
        run: texts of one version to one result each, in order; called in the batcher's thread.
        max_batch: texts in one call of `run` at most.
        max_queue: texts that may wait.
        wait_s: how long to wait for company; 0 does not wait.
        idle: called with the last batch when nothing is waiting; for work that may be skipped.
        on_answered: called in the task that submitted, with the seconds that a job waited and then was run.
    """

    def __init__(
        self,
        run: Callable[[K, list[str]], list[T]],
        *,
        max_batch: int,
        max_queue: int,
        wait_s: float = 0.0,
        idle: Callable[[K, list[str], list[T]], None] | None = None,
        on_answered: Callable[[float, float], None] | None = None,
    ) -> None:
        self._run = run
        self._on_answered = on_answered
        self._idle = idle
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._wait_s = wait_s
        self._jobs: deque[Job[K, T]] = deque()
        self._waiting_texts = 0
        self._condition = threading.Condition(threading.Lock())
        self._is_stopping = False
        self._thread: threading.Thread | None = None
        self.stats = BatcherStats()

    @property
    def depth(self) -> int:
        """Texts that wait."""
        return self._waiting_texts

    @property
    def is_full(self) -> bool:
        """Whether another text would be refused."""
        return self._waiting_texts >= self._max_queue

    @property
    def is_alive(self) -> bool:
        """Whether the thread is there."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._work, name="pointsman-batcher", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Finish what is queued, then end the thread."""
        with self._condition:
            self._is_stopping = True
            self._condition.notify()
        if self._thread is not None:
            self._thread.join(timeout=10)

    async def submit(self, key: K, texts: Sequence[str], expires: float) -> list[T]:
        """One result per text.

        Args:
            key: the version that shall answer.
            texts: at least one.
            expires: `time.monotonic()` from which on nobody wants the answer any more.

        Raises:
            GatewayError: `overloaded` at once, `queue_timeout` when it was not its turn in time.
        """
        if self._waiting_texts and self._waiting_texts + len(texts) > self._max_queue:
            self.stats.refused += 1
            raise GatewayError("overloaded", "too many texts are waiting for the classifier; try again")
        future: asyncio.Future[list[T]] = asyncio.get_running_loop().create_future()
        job = Job(key, texts, future, time.monotonic(), expires)
        with self._condition:
            self._jobs.append(job)
            self._waiting_texts += len(texts)
            self._condition.notify()
        results = await future
        if self._on_answered is not None:
            self._on_answered(job.taken - job.enqueued, time.monotonic() - job.taken)
        return results

    def _work(self) -> None:
        while True:
            jobs = self._take()
            if jobs is None:
                return
            if jobs:
                self._answer(jobs)

    def _take(self) -> list[Job[K, T]] | None:
        """The next jobs of one version, without those that nobody waits for; None to stop."""
        with self._condition:
            while not self._jobs:
                if self._is_stopping:
                    return None
                self._condition.wait()
            if self._wait_s and self._waiting_texts < self._max_batch:
                self._condition.wait_for(lambda: self._waiting_texts >= self._max_batch, self._wait_s)
            taken: list[Job[K, T]] = []
            expired: list[Job[K, T]] = []
            size, now = 0, time.monotonic()
            while self._jobs:
                job = self._jobs[0]
                is_dead = job.future.cancelled() or job.expires <= now
                is_other = bool(taken) and (
                    job.key is not taken[0].key or size + len(job.texts) > self._max_batch
                )
                if is_other and not is_dead:
                    break
                self._jobs.popleft()
                self._waiting_texts -= len(job.texts)
                if is_dead:
                    expired.append(job)
                else:
                    job.taken = now
                    taken.append(job)
                    size += len(job.texts)
        if expired:
            self.stats.expired += len(expired)
            late = GatewayError("queue_timeout", "the classifier did not get to it in time; try again")
            self._deliver([(job, late) for job in expired])
        self.stats.queued_s += sum(now - job.enqueued for job in taken)
        return taken

    def _answer(self, jobs: list[Job[K, T]]) -> None:
        outcome = self._attempt(jobs)
        if isinstance(outcome, BaseException) and len(jobs) > 1:
            # One bad text must not fail its batch mates.
            for job in jobs:
                self._answer([job])
            return
        if isinstance(outcome, BaseException):
            self._deliver([(jobs[0], outcome)])
            return
        answers: list[tuple[Job[K, T], list[T] | BaseException]] = []
        start = 0
        for job in jobs:
            answers.append((job, outcome[start : start + len(job.texts)]))
            start += len(job.texts)
        self._deliver(answers)
        if self._idle is not None and not self._jobs:
            # Skippable work must not end the thread, whatever it raises.
            with contextlib.suppress(BaseException):
                self._idle(jobs[0].key, [text for job in jobs for text in job.texts], outcome)

    def _attempt(self, jobs: list[Job[K, T]]) -> list[T] | BaseException:
        texts = [text for job in jobs for text in job.texts]
        started = time.monotonic()
        try:
            results = self._run(jobs[0].key, texts)
        except Exception as error:  # noqa: BLE001 - it is handed to who asked
            return error
        except BaseException as error:  # noqa: BLE001 - a native panic; the thread has to live on
            return BatchFailedError(type(error).__name__)
        finally:
            self.stats.runs += 1
            self.stats.texts += len(texts)
            self.stats.run_s += time.monotonic() - started
        if len(results) != len(texts):
            return BatchFailedError("as many results as texts were expected")
        return results

    def _deliver(self, answers: Sequence[tuple[Job[K, T], list[T] | BaseException]]) -> None:
        """Hand results to the event loop of who asked, in one call per loop."""
        try:
            answers[0][0].future.get_loop().call_soon_threadsafe(_settle, answers)
        except RuntimeError:
            return  # The loop is closed: nobody waits any more.


def _settle(answers: Sequence[tuple[Job[K, T], list[T] | BaseException]]) -> None:
    for job, answer in answers:
        if job.future.done():
            continue
        if isinstance(answer, BaseException):
            job.future.set_exception(answer)
        else:
            job.future.set_result(answer)
