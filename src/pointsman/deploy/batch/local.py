"""The local engine: processes of this machine, one thread each unless told otherwise."""

import multiprocessing
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from pointsman.deploy.batch.pipeline import in_order
from pointsman.deploy.batch.worker import (
    Answers,
    RouterSpec,
    answer_in_process,
    answer_texts,
    start_process,
)
from pointsman.errors import PointsmanError

_AHEAD = 2
"""Chunks a worker has waiting: enough that none is idle while the parent reads and writes."""

_T = TypeVar("_T")


def route_local(
    jobs: Iterable[tuple[_T, list[str]]], spec: RouterSpec, processes: int, threads: int
) -> Iterator[tuple[_T, Answers]]:
    """Answer every job, in order, with at most a few in memory.

    Raises:
        PointsmanError: a worker died.
    """
    if processes == 1:
        router = spec.open(threads)
        for key, texts in jobs:
            yield key, answer_texts(router, texts)
        return
    # Spawned: a forked ONNX Runtime would have locks that nobody opens.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, start_process, (spec, threads)) as pool:
        try:
            yield from in_order(
                jobs,
                lambda texts: pool.submit(answer_in_process, texts),
                lambda future: future.result(),
                processes * (1 + _AHEAD),
            )
        except BrokenProcessPool:
            raise PointsmanError(
                "a worker process died (out of memory?). The finished parts stay: run the same command again."
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
