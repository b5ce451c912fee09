"""Some jobs ahead, answers in order: what every engine does, in this process or on Ray."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

_K = TypeVar("_K")
_T = TypeVar("_T")
_S = TypeVar("_S")
_A = TypeVar("_A")


def in_order(
    jobs: Iterable[tuple[_K, _T]], send: Callable[[_T], _S], receive: Callable[[_S], _A], most: int
) -> Iterator[tuple[_K, _A]]:
    """Send jobs off, and give their answers in the order of the jobs.

    Args:
        jobs: (key, work); taken only as fast as answers are.
        send: starts the work and returns at once.
        receive: waits for what `send` started.
        most: jobs under way, at least 1.
    """
    waiting: deque[tuple[_K, _S]] = deque()
    for key, work in jobs:
        waiting.append((key, send(work)))
        if len(waiting) >= most:
            first, sent = waiting.popleft()
            yield first, receive(sent)
    while waiting:
        first, sent = waiting.popleft()
        yield first, receive(sent)
