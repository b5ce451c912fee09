"""Near duplicates: a key that they share, and a split by such keys that never changes."""

import hashlib
import re

_LOOSE = re.compile(r"[\W_]+")


def near_duplicate_key(query: str) -> str:
    """A key that near duplicates share: letters and digits of the first 300 characters, lower case.

    Letters of every script count; a text that has none is its own key.
    """
    return _LOOSE.sub("", query.lower()[:300]) or query.strip()


def hash_fraction(text: str, salt: str) -> float:
    """A number in 0..1 that depends on the text alone: a split that never changes."""
    digest = hashlib.sha256(f"{salt}\0{text}".encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
