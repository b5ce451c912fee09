"""Large JSON read and written in a thread, in pieces, so that the event loop goes on meanwhile.

Python's parser holds the interpreter's lock for the whole of a body: seconds for sixteen megabytes of `[],`.
Here the places of all strings are found first, by numpy, which lets go of the lock. What stands outside of
them is bounded in size and number, and parsed with a constant for each string; the strings are decoded one by
one, the long ones in pieces. What is taken and what is refused is what `strict_json` takes and refuses, but
for the two bounds.
"""

import gc
import json
import re
from collections.abc import Iterator
from json.decoder import scanstring  # type: ignore[attr-defined]
from json.encoder import encode_basestring
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointsman.serve.edge import strict_json
from pointsman.serve.failures import GatewayError

AT_ONCE_BYTES = 32_768
"""A smaller body is parsed on the event loop: that takes less than to hand it to a thread."""
MOST_VALUES = 100_000
_MOST_OUTSIDE_BYTES = 2**21
_BLOCK = 2**18
_SHORT = 5
"""Strings of this many bytes stay where they are: none of them holds an escaped character."""
_QUOTE, _BACKSLASH, _PLACEHOLDER = 0x22, 0x5C, "-Infinity"
_COLON = re.compile(rb"[ \t\r\n]*:")


def parse(body: bytes) -> Any:
    """The value in a body of UTF-8 JSON.

    Raises:
        GatewayError: as `strict_json.parse`; `body_too_large` for more than MOST_VALUES values.
    """
    spans = _spans(body)
    pieces: list[bytes] = []
    last = 0
    for start, end in spans:
        pieces += (body[last:start], _PLACEHOLDER.encode())
        last = end
    outside = b"".join((*pieces, body[last:]))
    if len(outside) > _MOST_OUTSIDE_BYTES:
        raise _too_many()
    strings = iter(spans)

    def next_string(name: str) -> str:
        span = next(strings, None) if name == _PLACEHOLDER else None
        if span is None:
            raise GatewayError("invalid_json", "NaN and Infinity are not JSON")
        return _decoded(body, span[0] + 1, span[1] - 1)

    # The collector would look through all that is made here again and again, with the lock held.
    gc.disable()
    try:
        return strict_json.parse(outside, next_string)
    finally:
        gc.enable()


def dump(value: Any) -> bytes:
    """A value as UTF-8 JSON, without spaces."""
    pieces: list[bytes] = []
    _dump(value, pieces)
    return b"".join(pieces)


def _too_many() -> GatewayError:
    return GatewayError("body_too_large", f"the body holds more than {MOST_VALUES} values")


def _spans(body: bytes) -> list[tuple[int, int]]:
    """Where the strings stand that are values and not short: the places of the quote and after the other."""
    found: list[NDArray[np.int64]] = []
    values, is_inside, run = 0, 0, 0
    for start in range(0, len(body), _BLOCK):
        block = np.frombuffer(body, np.uint8, min(_BLOCK, len(body) - start), start)
        quotes, run = _quotes(block, run)
        marks = np.zeros(len(block), np.uint8)
        marks[quotes] = 1
        inside = (np.cumsum(marks, dtype=np.uint8) + is_inside) & 1
        values += int(np.count_nonzero(((block == 0x2C) | (block == 0x5B) | (block == 0x7B)) & (inside == 0)))
        if values > MOST_VALUES:
            raise _too_many()
        is_inside = int(inside[-1])
        found.append(quotes + start)
    places = np.concatenate(found) if found else np.empty(0, np.int64)
    if is_inside:
        raise GatewayError("invalid_json", "the body is not JSON")
    pairs = places.reshape(-1, 2)
    pairs = pairs[pairs[:, 1] - pairs[:, 0] > _SHORT]
    return [(a, b + 1) for a, b in pairs.tolist() if _COLON.match(body, b + 1) is None]


def _quotes(block: NDArray[np.uint8], run: int) -> tuple[NDArray[np.int64], int]:
    """The quotes of a block that are not escaped, and how many backslashes stand at its end.

    Args:
        run: backslashes at the end of the block before.
    """
    quotes = np.flatnonzero(block == _QUOTE)
    slashes = np.flatnonzero(block == _BACKSLASH)
    if not len(slashes):
        return (quotes[1:] if run % 2 and len(quotes) and quotes[0] == 0 else quotes), 0
    order = np.arange(len(slashes))
    is_first = np.diff(slashes, prepend=-2) != 1
    first = np.maximum.accumulate(np.where(is_first, order, 0))
    lengths = order - first + 1 + np.where(slashes[first] == 0, run, 0)
    before = np.zeros(len(block) + 1, np.int64)
    before[slashes + 1] = lengths
    if slashes[0] != 0:
        before[0] = run
    return quotes[before[quotes] % 2 == 0], int(before[-1])


def _decoded(body: bytes, start: int, end: int) -> str:
    """The string between two quotes."""
    pieces: list[str] = []
    held = ""
    while start < end:
        stop = _cut(body, start, min(end, start + _BLOCK), end)
        try:
            text = held + scanstring(body[start:stop].decode() + '"', 0)[0]
        except UnicodeDecodeError:
            raise GatewayError("invalid_json", "the body is not UTF-8") from None
        except ValueError:
            raise GatewayError("invalid_json", "the body is not JSON") from None
        if held and "\udc00" <= text[1:2] <= "\udfff":
            text = text[:2].encode("utf-16", "surrogatepass").decode("utf-16") + text[2:]
        held = text[-1:] if stop < end and "\ud800" <= text[-1:] <= "\udbff" else ""
        pieces.append(text[: len(text) - len(held)])
        start = stop
        try:
            pieces[-1].encode()
        except UnicodeEncodeError:
            raise GatewayError("invalid_json", "a string holds half a surrogate pair") from None
    return "".join(pieces)


def _cut(body: bytes, start: int, stop: int, end: int) -> int:
    """A place near `stop` that is in no escape and in no character; `start` is such a place."""
    if stop == end:
        return end
    slash = body.rfind(b"\\", max(start, stop - 6), stop)
    if slash >= 0:
        run = len(body[start : slash + 1]) - len(body[start : slash + 1].rstrip(b"\\"))
        first = slash + 1 - run
        return first if first > start else start + run // 2 * 2
    while body[stop] & 0xC0 == 0x80:
        stop -= 1
    return stop


def _dump(value: Any, pieces: list[bytes]) -> None:
    if isinstance(value, str):
        pieces += _dumped(value)
    elif isinstance(value, dict):
        pieces.append(b"{")
        for index, (key, item) in enumerate(value.items()):
            pieces.append((b"," if index else b"") + encode_basestring(key).encode() + b":")
            _dump(item, pieces)
        pieces.append(b"}")
    elif isinstance(value, list):
        pieces.append(b"[")
        for index, item in enumerate(value):
            if index:
                pieces.append(b",")
            _dump(item, pieces)
        pieces.append(b"]")
    else:
        pieces.append(json.dumps(value).encode())


def _dumped(text: str) -> Iterator[bytes]:
    yield b'"'
    for start in range(0, len(text), _BLOCK):
        yield encode_basestring(text[start : start + _BLOCK])[1:-1].encode()
    yield b'"'
