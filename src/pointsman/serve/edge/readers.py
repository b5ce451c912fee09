"""Threads in which long bodies are read: the shortest of them wait for no other, and no client holds all."""

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar
from weakref import WeakValueDictionary

T = TypeVar("T")
LONG_BYTES = 2**20
"""A body of more, if it is of the worst kind, holds its thread for seconds."""
_LONG_THREADS = 2


class Readers:
    """Few threads, because they share the interpreter with all else: one for each size, and one more."""

    def __init__(self) -> None:
        self._short = ThreadPoolExecutor(1, thread_name_prefix="read")
        self._long = ThreadPoolExecutor(_LONG_THREADS, thread_name_prefix="read-long")
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def run(self, size: int, client: str, work: Callable[..., T], *given: Any) -> T:
        """Do in a thread what grows with `size` bytes; of one client one at a time where that is long."""
        loop = asyncio.get_running_loop()
        if size <= LONG_BYTES:
            return await loop.run_in_executor(self._short, work, *given)
        turn = self._turns.setdefault(client, asyncio.Lock())
        await turn.acquire()
        future = self._long.submit(work, *given)

        def give_back(_: Future[T]) -> None:
            # A closed loop refuses: no request is left.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(turn.release)

        # A client that leaves does not stop the thread, and its turn ends with that.
        future.add_done_callback(give_back)
        return await asyncio.wrap_future(future)
