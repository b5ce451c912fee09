"""Chats that are the hardest to read for their size: for a JSON parser, for the rules, or for both."""

import base64
import json
import random
from collections.abc import Callable

Make = Callable[[int], bytes]


def _repeated(unit: str | bytes) -> Make:
    data = unit.encode() if isinstance(unit, str) else unit
    return lambda size: data * (size // len(data))


def _deep(value: str) -> bytes:
    """JSON in JSON in JSON, as it stands in a string of a body."""
    while len(value) < 2_000:
        value = json.dumps({"a": value})
    return json.dumps(value)[1:-1].encode() + b" "


def _in_list(item: bytes, name: str = "messages") -> Make:
    return lambda size: b'{"%s":[' % name.encode() + item * (size // len(item)) + b"1]}"


TEXTS: dict[str, Make] = {
    "plain": _repeated("a"),
    "words": _repeated("the plan of "),
    "one emoji in a plain text": lambda size: b"plan " * (size // 5) + "😀".encode(),
    "line feeds": _repeated("a\\n"),
    "escapes": _repeated("\\u00e9"),
    "marks": _repeated("\u0301"),
    "long ligature": _repeated("\ufdfa"),
    "zero width": _repeated("\u200b"),
    "ideographs": _repeated("工"),
    "Cyrillic capitals": _repeated("АВ"),
    "backslashes": _repeated("\\\\"),
    "unbroken base64": lambda size: base64.b64encode(random.Random(1).randbytes(3 * size // 4)),
    "runs too short for a picture": _repeated("a" * 511 + " "),
    "digits": _repeated("7"),
    "hexadecimal": _repeated("deadbeef"),
    "JSON in JSON in JSON": _repeated(_deep("x")),
    "escapes in a string": _repeated("a\\\\u0061"),
    "entities": _repeated("a&lt;"),
    "percent signs": _repeated("a%61"),
    "elements": _repeated("<b>"),
    "humps": _repeated("aA"),
    "data": _repeated("data:image/"),
    "a prompt that does not end": lambda size: b"System prompt:" + b"x" * size,
}
"""By the kind: what stands between the quotes of a chat's only text, of about so many bytes."""


def _chat(make: Make) -> Make:
    head, tail = b'{"model":"auto","messages":[{"role":"user","content":"', b'"}]}'
    return lambda size: head + make(size - 100) + tail


WORST: dict[str, Make] = {
    **{name: _chat(make) for name, make in TEXTS.items()},
    "empty lists": _in_list(b"[],"),
    "small objects": _in_list(b'{"a":1},'),
    "small messages": _in_list(b'{"role":"user","content":"hi"},'),
    "small strings": _in_list(b'"a",', "prompt"),
    "strings": _in_list(b'"aaaaaaaaaaaaaaaa\\n",', "prompt"),
    "keys": lambda size: b"{" + b",".join(b'"%015d":1' % i for i in range(size // 20)) + b"}",
    "numbers": _in_list(b"1,", "prompt"),
    "one number": lambda size: b'{"prompt":' + b"9" * (size - 20) + b"}",
    "depth": _repeated("["),
    "spaces": lambda size: b" " * (size - 2) + b"{}",
    "quotes": _repeated('"'),
    "a long type": lambda size: b'{"messages":[{"content":[{"type":"%s"}]}]}' % (b"image" * (size // 6)),
}
"""Whole bodies of at most about so many bytes."""
