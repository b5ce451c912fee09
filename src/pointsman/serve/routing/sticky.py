"""Conversations stay with the target of their first turn, where the operator wants that.

A conversation is the client's `x-pointsman-session`, or else what it began with; only a keyed hash is kept.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pointsman.serve.inference.cache import RecentCache

_MAX_CONVERSATIONS = 10_000


class Sticky:
    """Remembers the target of conversations for `ttl_s` seconds after their last turn."""

    def __init__(self, ttl_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._ttl_s = ttl_s
        self._clock = clock
        self._hasher: RecentCache[str] = RecentCache(0)
        self._targets: OrderedDict[bytes, tuple[str, float]] = OrderedDict()

    def key(self, client: str, session: str | None, messages: Sequence[Mapping[str, Any]]) -> bytes:
        """Which conversation of which client this is."""
        if session:
            return self._hasher.key(f"{client}\0session\0{session[:200]}")
        first = next((message for message in messages if message.get("role") == "user"), {})
        return self._hasher.key(f"{client}\0opening\0{first.get('content')!r}")

    def get(self, key: bytes) -> str | None:
        """The target so far, if the conversation is known and not too long ago."""
        target, until = self._targets.get(key, ("", 0.0))
        return target if target and until > self._clock() else None

    def put(self, key: bytes, target: str) -> None:
        """Remember, or keep alive."""
        self._targets[key] = (target, self._clock() + self._ttl_s)
        self._targets.move_to_end(key)
        if len(self._targets) > _MAX_CONVERSATIONS:
            self._targets.popitem(last=False)
