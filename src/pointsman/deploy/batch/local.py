"""The local engine: one router in this process, its batches side by side on the threads given."""

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from pointsman.deploy.batch.pipeline import in_order
from pointsman.deploy.batch.worker import Answers, RouterSpec, answer_texts

_CALLERS = 2
"""While one chunk is tokenized or turned into rows, the model runs the other's batches."""

_T = TypeVar("_T")


def route_local(
    jobs: Iterable[tuple[_T, list[str]]], spec: RouterSpec, threads: int
) -> Iterator[tuple[_T, Answers]]:
    """Answer every job, in order, with at most three chunks in memory.

    Args:
        jobs: (key, texts).
        threads: runs of the model side by side, at least 1.
    """
    router = spec.open(threads)
    with ThreadPoolExecutor(_CALLERS if threads > 1 else 1, "pointsman-chunk") as pool:
        try:
            yield from in_order(
                jobs,
                lambda texts: pool.submit(answer_texts, router, texts),
                Future[Answers].result,
                _CALLERS + 1,
            )
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
