"""Batches of one call, run side by side: each on one thread, at most `threads` at a time.

A run of the model never shares its matrix products between threads. Two threads inside one run wait for each
other after every operation, so one busy neighbour slows both; two runs side by side wait for nothing.
Measured in `docs/benchmarking.md`.
"""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

J = TypeVar("J")
R = TypeVar("R")


class Scheduler:
    """Runs jobs on the calling thread and on at most `threads - 1` threads that all callers share.

    The calling thread always works too, so a call ends even when every shared thread is busy with others.
    Threads start when they are first needed. Safe to share between threads.
    """

    def __init__(self, threads: int) -> None:
        """Plan for `threads` runs at a time, at least 1."""
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads - 1, "pointsman-run") if threads > 1 else None

    def map(self, run: Callable[[J], R], jobs: Sequence[J]) -> list[R]:
        """Results in the order of `jobs`; a single job runs on the calling thread.

        Threads take jobs from the front, so put the longest first.

        Raises:
            Exception: the first error of a job; jobs that had not begun are not run.
        """
        if self._pool is None or len(jobs) < 2:
            return [run(job) for job in jobs]
        results: dict[int, R] = {}
        waiting = deque(range(len(jobs)))

        def work() -> None:
            try:
                while waiting:
                    try:
                        index = waiting.popleft()
                    except IndexError:
                        return  # Another thread took the last one.
                    results[index] = run(jobs[index])
            except BaseException:
                waiting.clear()
                raise

        try:
            helpers = [self._pool.submit(work) for _ in range(min(self.threads, len(jobs)) - 1)]
        except RuntimeError:  # The main thread has ended: no thread starts any more.
            waiting.clear()
            return [run(job) for job in jobs]
        try:
            work()
        finally:
            # One that has not begun would find nothing left to do.
            begun = [helper for helper in helpers if not helper.cancel()]
            _join(begun)
        for helper in begun:
            helper.result()
        return [results[index] for index in range(len(jobs))]


def _join(helpers: Sequence["Future[None]"]) -> None:
    for helper in helpers:
        helper.exception()
