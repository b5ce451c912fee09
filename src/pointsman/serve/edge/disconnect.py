"""Stop working for a client that has gone."""

import asyncio
from types import TracebackType

from pointsman.serve.edge.http import ClientGone, Exchange


class WhileConnected:
    """Cancels the `async with` block when the client closes the connection, and raises ClientGone.

    The body must have been read.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._is_gone = False

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._watcher = asyncio.create_task(self._watch())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watcher.cancel()
        # Another reader may wait for the same event; then it takes it.
        if isinstance(error, asyncio.CancelledError) and self._is_gone and not self._task.uncancel():
            raise ClientGone from None

    async def _watch(self) -> None:
        while (await self._exchange.receive())["type"] != "http.disconnect":
            pass
        self._is_gone = True
        self._task.cancel()
