"""A text once more as what it stands for: escapes, entities, percent signs and base64, several times over.

A tool's result is often JSON inside a string inside JSON, so what has been decoded is looked at again.
"""

import base64
import codecs
import html
import re
import string
import sys
from collections.abc import Callable, Iterator

import regex

from pointsman.serve.routing.folding import JOINT

_MOST_ROUNDS = 6
"""How deep encodings inside encodings are read; each round reads all of the text once."""
_PIECE, _OVERLAP = 1 << 16, 512
"""Characters that are read in one go."""
_SHORTEST = 10
"""Base64 or hexadecimal digits below which there is no word worth a rule."""
_SURE = 24
"""Bytes that are not valid UTF-8, or nearly all printable, by chance."""
_PRINTABLE = bytes([9, 10, 13, *range(32, 127)])
_ESCAPE = re.compile(r"\\(?:u\{[0-9a-fA-F]{1,6}\}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|x[0-9a-fA-F]{2}|[^\n])")
_CONTROLS = {"n": "\n", "r": "\n", "t": "\t", "f": "\n", "v": "\n", "b": " "}
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});?")
_BYTES = re.compile(r"(?:%[0-9a-fA-F]{2})+|(?:=[0-9A-F]{2})+")
_TERMINAL = re.compile(r"\x1b\[[0-?]*+[ -/]*+[@-~]")
_ELEMENT = re.compile(r"<[/!]?[A-Za-z-][^<>]*+>")
_SOFT_BREAK = re.compile(r"=\r?\n")
_SOFT_HYPHEN = re.compile("\u00ad[ \t]*+\r?\n[ \t]*+")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{10,}+={0,2}+")
_BASE64_LINE = re.compile(r"(?<=[A-Za-z0-9+/]{60})\r?\n(?=[A-Za-z0-9+/=])")
_LONG = re.compile(r"[A-Za-z0-9+/]{512,}+={0,2}+")
_CUT = re.compile(r"(?<!\\)[\s,\"\[\]]")
_HEX = re.compile(r"[0-9a-fA-F]++")
_PARTS = re.compile("[-/_]")
_CONTROL = regex.compile(r"[^\P{Cc}\s\x1b]|[\p{Cn}\p{Co}]")
_TAGS = re.compile("[\U000e0020-\U000e007e]+")
_ASCII = {0xE0000 + code: code for code in range(0x20, 0x7F)}
APART = "\n;\n"
"""Between texts that do not belong together: no phrase goes across it."""


def without_blobs(text: str) -> str:
    """The text without pictures and sounds in base64: by chance they spell any short word."""
    if _LONG.search(text) is None:
        return text
    return _LONG.sub(lambda match: "" if _is_blob(match[0]) else match[0], text)


def _is_blob(run: str) -> bool:
    """Whether a long run is no text in any way; capitals and small letters are two fifths each by chance."""
    if _of_base64(run) or _of_hex(run):
        return False
    kinds = (string.ascii_uppercase, string.ascii_lowercase)
    others = [len(run.encode().translate(None, kind.encode())) for kind in kinds]
    return _HEX.fullmatch(run) is not None or 5 * max(others) < 4 * len(run)


def decoded(text: str) -> Iterator[str]:
    """What a text stands for where that differs from it, layer by layer."""
    known: set[str] = set()
    for piece in _pieces(text):
        for _ in range(_MOST_ROUNDS):
            plain = _unescaped(piece)
            found = [plain] if plain != piece else []
            found += _held(piece, known)
            if not found:
                break
            piece = APART.join(found)
            yield piece


def _pieces(text: str) -> Iterator[str]:
    """Pieces that no encoding goes across, with a little of the one before: each is a short call in C.

    The interpreter's lock is held for the time of such a call, and everything else waits.
    """
    start = 0
    while start < len(text):
        cut = _CUT.search(text, start + _PIECE)
        end = cut.start() if cut else len(text)
        yield text[max(0, start - _OVERLAP) : end]
        start = end


def _unescaped(text: str) -> str:
    """One layer of escapes and markup taken off."""
    if "\\" in text:
        text = _sub(_ESCAPE, _of_escape, text)
        # Halves of a pair that two escapes stood for come together.
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if "&" in text:
        text = _sub(_ENTITY, html.unescape, text)
    if "%" in text or "=" in text:
        text = _sub(_BYTES, _of_bytes, _SOFT_BREAK.sub("", text))
    if "\x1b" in text:
        text = _TERMINAL.sub(JOINT, text)
    if "<" in text:
        text = _ELEMENT.sub(JOINT, text)
    if "\u00ad" in text:
        text = _SOFT_HYPHEN.sub("", text)
    return _TAGS.sub(lambda match: f"{JOINT}{match[0].translate(_ASCII)}{JOINT}", text)


def _held(text: str, known: set[str]) -> Iterator[str]:
    """What base64 and hexadecimal digits hold that are not known yet."""
    joined = _BASE64_LINE.sub("", text) if "\n" in text else text
    for run in _BASE64.findall(joined):
        if run[1:].isalpha() and run[1:].islower():
            continue
        for piece in (run, *_PARTS.split(run)) if _PARTS.search(run) else (run,):
            if piece not in known and (value := _of_base64(piece) or _of_hex(piece)):
                known.add(piece)
                yield value


def _sub(pattern: re.Pattern[str], form: Callable[[str], str], text: str) -> str:
    return pattern.sub(lambda match: form(match[0]), text)


def _of_escape(escape: str) -> str:
    kind, rest = escape[1], escape[2:].strip("{}")
    if rest:
        code = int(rest, 16)
        return chr(code) if code <= sys.maxunicode else escape
    return _CONTROLS.get(kind, escape if kind.isalnum() or kind.isspace() else kind)


def _of_bytes(run: str) -> str:
    return bytes.fromhex(run.replace("%", "").replace("=", "")).decode("utf-8", "replace")


def _of_base64(run: str) -> str | None:
    bare = run.rstrip("=")
    if len(bare) % 4 == 1 and len(bare) > 4 * _SHORTEST:
        bare = bare[:-1]
    if len(bare) < _SHORTEST or len(bare) % 4 == 1:
        return None
    return _readable(base64.urlsafe_b64decode(bare.replace("+", "-").replace("/", "_") + "=="))


def _of_hex(run: str) -> str | None:
    run = run[2:] if run[:2] in ("0x", "0X") else run
    if len(run) < _SHORTEST or len(run) % 2 or not _HEX.fullmatch(run):
        return None
    return _readable(bytes.fromhex(run))


def _readable(data: bytes) -> str | None:
    """The text that bytes are; None for anything else, and for few bytes with control characters.

    It may break off in a character. UTF-16 and Latin-1 are told by their ASCII part.
    """
    data = data.removeprefix(b"\xff\xfe").removeprefix(b"\xfe\xff").replace(b"\0", b"")
    is_long = len(data) >= _SURE
    try:
        text, _ = codecs.utf_8_decode(data, "strict", not is_long)
    except UnicodeDecodeError:
        is_latin = is_long and 8 * len(data.translate(None, _PRINTABLE)) <= len(data)
        return data.decode("latin-1") if is_latin else None
    return text if is_long or not _CONTROL.search(text) else None
