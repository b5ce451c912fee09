"""Stop working for a client that has gone."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.types import Receive

from pointsman.serve.http import ClientGone, Exchange

T = TypeVar("T")


async def while_connected(exchange: Exchange, work: Coroutine[Any, Any, T]) -> T:
    """Do `work` in a task of its own, and cancel it when the client closes the connection.

    The body must have been read.

    Raises:
        ClientGone: nobody waits any more.
    """
    task = asyncio.ensure_future(work)
    watcher = asyncio.ensure_future(_gone(exchange.receive))
    try:
        await asyncio.wait({task, watcher}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
        if task.cancelled():
            raise ClientGone
        return task.result()
    finally:
        watcher.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
