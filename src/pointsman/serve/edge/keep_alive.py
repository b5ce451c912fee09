"""Comments in a stream that is silent, so that no proxy and no client between takes it for dead."""

import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self

COMMENT = b": keep-alive\n\n"
"""Every client of server-sent events skips it."""
PING = b': keep-alive\nevent: ping\ndata: {"type": "ping"}\n\n'
"""The same as Anthropic's protocol says it: its clients may count events, and not bytes."""


class KeepAlive:
    """Calls `say` whenever nothing was sent for some time, as long as the `async with` block lasts.

    Args:
        wait_s: seconds of silence; 0 never calls.
        say: sends something; where it is still at it, it is not called again.
    """

    def __init__(self, wait_s: float, say: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._wait_s = wait_s
        self._say = say
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._saying: asyncio.Task[None] | None = None

    def renew(self) -> None:
        """Something was sent: only noted, because a timer for each piece would cost more than the piece."""
        self._sent_at = self._loop.time()

    async def __aenter__(self) -> Self:
        self.renew()
        if self._wait_s:
            self._timer = self._loop.call_later(self._wait_s, self._ring)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._saying is not None:
            await asyncio.wait([self._saying])

    def _ring(self) -> None:
        left_s = self._sent_at + self._wait_s - self._loop.time()
        if left_s <= 0:
            if self._saying is None or self._saying.done():
                self._saying = self._loop.create_task(self._say())
            self.renew()
            left_s = self._wait_s
        self._timer = self._loop.call_later(left_s, self._ring)
