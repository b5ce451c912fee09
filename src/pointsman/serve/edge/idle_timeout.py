"""A timeout that every piece of an answer puts off."""

import asyncio
import time
from types import TracebackType
from typing import Self


class IdleTimeout:
    """Ends the `async with` block with TimeoutError when nothing has come for too long.

    asyncio's own timeout takes a new timer whenever it is put off, a good part of what a piece costs. Here a
    piece only notes until when to wait now; the one timer looks at that when it rings.

    Args:
        deadline: `time.monotonic()` after which no piece extends the timeout.
        wait_s: seconds to wait for the first piece.
    """

    def __init__(self, deadline: float, wait_s: float) -> None:
        self._deadline = deadline
        self._loop = asyncio.get_running_loop()
        self._until = min(deadline, time.monotonic() + wait_s)
        self._timeout = asyncio.timeout(None)

    def renew(self, wait_s: float) -> None:
        """Wait this many seconds from now on."""
        self._until = min(self._deadline, time.monotonic() + wait_s)
        if self._until < self._rings_at:
            self._timer.cancel()
            self._arm()

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        self._arm()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        await self._timeout.__aexit__(kind, error, trace)

    def _arm(self) -> None:
        self._rings_at = self._until
        self._timer = self._loop.call_later(self._rings_at - time.monotonic(), self._ring)

    def _ring(self) -> None:
        if self._until > time.monotonic():
            self._arm()
        else:
            self._timeout.reschedule(self._loop.time())
