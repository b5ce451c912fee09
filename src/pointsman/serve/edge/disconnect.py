"""Stop working for a client that has gone."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from pointsman.serve.edge.http import ClientGone, Exchange


@contextlib.asynccontextmanager
async def while_connected(exchange: Exchange) -> AsyncIterator[None]:
    """Cancel what is done inside when the client closes the connection.

    The body must have been read.

    Raises:
        ClientGone: the client closed the connection.
    """
    task = asyncio.current_task()
    assert task is not None
    is_gone = False

    async def watch() -> None:
        nonlocal is_gone
        while (await exchange.receive())["type"] != "http.disconnect":
            pass
        is_gone = True
        task.cancel()

    watcher = asyncio.create_task(watch())
    try:
        yield
    except asyncio.CancelledError:
        # Another reader may wait for the same event; then it takes it.
        if is_gone and not task.uncancel():
            raise ClientGone from None
        raise
    finally:
        watcher.cancel()
