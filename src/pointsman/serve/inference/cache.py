"""Recent decisions by a keyed hash of the text: bounded, and no text is kept."""

import hashlib
import secrets
from collections import OrderedDict
from typing import Generic, TypeVar

V = TypeVar("V")


class RecentCache(Generic[V]):
    """The last `size` values, least recently used out first; a size of 0 keeps nothing."""

    def __init__(self, size: int) -> None:
        self._size = size
        # A key of its own per process: the digests of two processes, or of a list of guesses, do not meet.
        self._secret = secrets.token_bytes(32)
        self._values: OrderedDict[bytes, V] = OrderedDict()
        self.hits = 0
        self.misses = 0

    def key(self, text: str, owner: str = "") -> bytes:
        """16 bytes that stand for a text, in this cache only; each owner has values of its own."""
        made = hashlib.blake2b(owner.encode() + b"\0", digest_size=16, key=self._secret)
        made.update(text.encode("utf-8", "surrogatepass"))
        return made.digest()

    def get(self, key: bytes) -> V | None:
        """The value, which becomes the most recent one, or None."""
        value = self._values.get(key)
        if value is None:
            self.misses += 1
            return None
        self._values.move_to_end(key)
        self.hits += 1
        return value

    def put(self, key: bytes, value: V) -> None:
        """Keep a value."""
        if not self._size:
            return
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._size:
            self._values.popitem(last=False)

    def __len__(self) -> int:
        return len(self._values)
