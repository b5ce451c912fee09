"""Near duplicates: a key that they share, a split by such keys, and a sketch that knows rows again."""

import hashlib
import re
from collections.abc import Iterable, Sequence

SKETCH = "sketch"
"""Where a sketch stands: in an artifact's curve, and in the record of a training."""
KEY_CHARS = 300
"""Characters of a text that its key is made of."""
SKETCH_SIZE = 1024
"""Digests in a sketch at most: about 13 KB of JSON."""

_LOOSE = re.compile(r"[\W_]+")


def near_duplicate_key(query: str) -> str:
    """A key that near duplicates share: letters and digits of the first 300 characters, lower case.

    Letters of every script count; a text that has none is its own key.
    """
    return _LOOSE.sub("", query.lower()[:KEY_CHARS]) or query.strip()


def hash_fraction(text: str, salt: str) -> float:
    """A number in 0..1 that depends on the text alone: a split that never changes."""
    digest = hashlib.sha256(f"{salt}\0{text}".encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def row_sketch(queries: Iterable[str]) -> list[str]:
    """What tells later whether rows were among these: the smallest digests of their keys, and no text.

    A bottom-k sketch (Broder 1997): exact up to `SKETCH_SIZE` distinct rows, a sample of more.
    """
    return sorted(set(map(_digest, queries)))[:SKETCH_SIZE]


def share_in(queries: Iterable[str], sketch: Sequence[str]) -> float:
    """The share of queries, 0..1, that were among the rows of a sketch, near duplicates included."""
    last = sketch[-1] if len(sketch) >= SKETCH_SIZE else "g"
    known, within = set(sketch), [digest for digest in map(_digest, queries) if digest <= last]
    return sum(digest in known for digest in within) / max(1, len(within))


def _digest(query: str) -> str:
    return hashlib.sha256(f"row\0{near_duplicate_key(query)}".encode("utf-8", "replace")).hexdigest()[:10]
