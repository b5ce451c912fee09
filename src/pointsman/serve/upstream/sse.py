"""Where events of a server-sent stream end: whole events go on as they came, half ones wait.

Nothing is parsed, changed or re-split; joined together, what goes out is what came in.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from pointsman.serve.edge.strict_json import object_or_none

_PING = re.compile(rb"^event: ?ping(?:\r\n?|\n)data:[^\r\n]*(?=[\r\n])", re.MULTILINE)
MAX_EVENT_BYTES = 2**18
"""A longer event goes on as it comes: to hold more of it would only cost memory."""
_MARK_BYTES = 2
"""Bytes of a blank line that can be held back: one less than the longest has."""


class EventRelay:
    """Holds back the unfinished end of a stream, so that a cut never shows half an event."""

    def __init__(self) -> None:
        self._tail = bytearray()
        self._said = b""

    @property
    def is_in_event(self) -> bool:
        """Whether the beginning of an event went on that was too long to be held."""
        return bool(self._said)

    def feed(self, data: bytes) -> bytes:
        """Take what came; returns what may go on, up to the end of the last whole event; may be empty."""
        tail = self._tail
        if self._said:
            return self._feed_long(data)
        if not tail:
            if data.endswith(b"\n\n"):
                return data
            end = _last_end(data)
            tail += data[end:]
            return data[:end]
        # A blank line may have begun in what is held; the rest of that was looked through before.
        seen = max(0, len(tail) - _MARK_BYTES)
        tail += data
        end = _last_end(bytes(tail[seen:]))
        if end:
            end += seen
        elif len(tail) <= MAX_EVENT_BYTES:
            return b""
        else:
            end = len(tail)
            self._said = bytes(tail[-_MARK_BYTES:])
        with memoryview(tail) as view:
            ready = bytes(view[:end])
        del tail[:end]
        return ready

    def _feed_long(self, data: bytes) -> bytes:
        """In an event of which the beginning went on: all of it goes on."""
        end = _last_end(self._said + data) - len(self._said)
        if end <= 0:
            self._said = (self._said + data)[-_MARK_BYTES:]
            return data
        self._said = b""
        self._tail += data[end:]
        return data[:end]

    def rest(self) -> bytes:
        """What is left when the stream ended as it should: an event without its blank line."""
        rest = bytes(self._tail)
        self._tail.clear()
        return rest


def is_comments(data: bytes) -> bool:
    """Whether whole events say nothing: comments, blank lines or Anthropic's pings, all of them skipped."""
    return all(not line or line.startswith(b":") for line in _PING.sub(b"", data).splitlines())


def _last_end(data: bytes) -> int:
    """The index after the last blank line, 0 where there is none. Lines end in LF, CR LF or CR."""
    end = max(_after(data, b"\n\n"), _after(data, b"\r\r"))
    after_mixed = _after(data, b"\n\r")
    if after_mixed and data[after_mixed : after_mixed + 1] == b"\n":
        after_mixed += 1
    return max(end, after_mixed)


def _after(data: bytes, mark: bytes) -> int:
    found = data.rfind(mark)
    return 0 if found < 0 else found + len(mark)


def event(value: Any, name: str = "") -> bytes:
    """One event with a JSON value, and a name where the protocol has names."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(value, ensure_ascii=False)}\n\n".encode()


def comment(value: Any) -> bytes:
    """One comment with a JSON value, which every client skips."""
    return b": pointsman " + json.dumps(value, ensure_ascii=True).encode() + b"\n\n"


def values(data: bytes, mark: bytes) -> Iterator[dict[str, Any]]:
    """The JSON objects of the data lines that hold `mark`."""
    for line in data.splitlines():
        if line.startswith(b"data:") and mark in line:
            value = object_or_none(line[5:])
            if value is not None:
                yield value
