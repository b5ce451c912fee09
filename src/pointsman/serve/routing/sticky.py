"""Conversations stay with the target of their first turn, where the operator wants that.

A conversation is the client's `x-pointsman-session`, or else what it began with; only a keyed hash is kept.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pointsman.serve.inference.cache import RecentCache

_MAX_CONVERSATIONS = 10_000
_OPENING_CHARS = 1 << 16
_MARKS = frozenset({"cache_control", "type"})


@dataclass(frozen=True, slots=True)
class Stay:
    """Where a conversation stays.

    Attributes:
        target: `local` or `cloud`.
        is_bound: a turn of it was `local-only`; no fallback.
        is_private: a rule said so; no wish of the client undoes that.
    """

    target: str
    is_bound: bool = False
    is_private: bool = False


class Sticky:
    """Remembers conversations for `ttl_s` seconds after their last turn, the bound ones apart from others.

    However many other conversations there are, they push none of the bound ones out.
    """

    def __init__(self, ttl_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._ttl_s = ttl_s
        self._clock = clock
        self._hasher: RecentCache[str] = RecentCache(0)
        self._bound: OrderedDict[bytes, tuple[Stay, float]] = OrderedDict()
        self._others: OrderedDict[bytes, tuple[Stay, float]] = OrderedDict()

    def key(self, client: str, session: str | None, messages: Sequence[Mapping[str, Any]]) -> bytes:
        """Which conversation of which client this is."""
        if session:
            return self._hasher.key(f"{client}\0session\0{session[:200]}")
        first = next((message for message in messages if message.get("role") == "user"), {})
        content = first.get("content")
        # One text and a list of this one text are the same conversation, in whatever protocol.
        parts = [{"text": content}] if isinstance(content, str) else content
        return self._hasher.key(f"{client}\0opening\0{_opening(parts)!r}")

    def get(self, key: bytes) -> Stay | None:
        """Where it stays so far, if the conversation is known and its last turn not too long ago."""
        stay, until = self._bound.get(key) or self._others.get(key) or (None, 0.0)
        return stay if until > self._clock() else None

    def put(self, key: bytes, target: str, *, is_bound: bool = False, is_private: bool = False) -> None:
        """Remember a turn's target, or keep alive what is known: only a bound turn changes that."""
        known = self.get(key)
        stay = Stay(target, is_bound, is_private or (known is not None and known.is_private))
        if known is not None and (known.is_private or not is_bound):
            stay = known
        kept = self._bound if stay.is_bound else self._others
        kept[key] = (stay, self._clock() + self._ttl_s)
        kept.move_to_end(key)
        if len(kept) > _MAX_CONVERSATIONS:
            kept.popitem(last=False)


def _opening(content: Any) -> Any:
    """How a conversation began, by each text's beginning, without kinds and a cache's marks, which differ."""
    if isinstance(content, str):
        return content[:_OPENING_CHARS], len(content)
    if isinstance(content, dict):
        return {name: _opening(content[name]) for name in sorted(content.keys() - _MARKS)}
    return list(map(_opening, content)) if isinstance(content, list) else content
