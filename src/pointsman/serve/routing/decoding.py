"""A text once more as what it stands for: escapes, entities, percent signs and base64, several times over.

A tool's result is often JSON inside a string inside JSON, so what has been decoded is looked at again.
"""

import base64
import codecs
import html
import itertools
import re
import string
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from urllib.parse import unquote_to_bytes

import regex

from pointsman.serve.failures import GatewayError
from pointsman.serve.routing.folding import JOINT, spans
from pointsman.serve.routing.markup import put_together, shown

_MOST_ROUNDS = 6
"""How deep encodings inside encodings are read; each round reads all of the text once."""
_OVERLAP = 4096
"""Characters that are read once more with the next piece, for words and codes that go across."""
_MOST_CHARS = 1 << 24
"""Of what encodings stand for, all layers together."""
_SHORTEST = 10
"""Base64 or hexadecimal digits below which there is no word worth a rule."""
_MOST_KNOWN = 100_000
_SURE = 24
"""Bytes that are not valid UTF-8, or nearly all printable, by chance."""
_CONTINUATION = bytes(range(0x80, 0xC0))
_PRINTABLE = bytes([9, 10, 13, *range(32, 127)])
_HELD = "\uffff"
"""Stands for an escaped backslash until all other escapes are read; it is no character."""
_SIGNS = {"n": "\n", "r": "\n", "t": "\t", "f": "\n", "v": "\n", "b": " ", '"': '"', "/": "/"}
_SIGN = re.compile(r"\\([^\w\s]|_)")
_CODES = re.compile(r"(?<!\\)(?:\\(?:u[0-9a-fA-F]{4}|U00(?:0[0-9a-fA-F]|10)[0-9a-fA-F]{4}))++")
_BYTE_CODES = re.compile(r"(?<!\\)(?:\\(?:x[0-9a-fA-F]{2}|[0-3][0-7]{2}))++")
_WIDE_PERCENT = re.compile("%u([0-9a-fA-F]{4})")
_BRACES = re.compile(r"(?<!\\)\\u\{([0-9a-fA-F]{1,6})\}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_REFERENCE = r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31})"
_ENTITY, _OPEN_ENTITY = re.compile(f"{_REFERENCE};"), re.compile(_REFERENCE)
_QUOTED = re.compile(r"=([0-9A-Fa-f]{2})")
_ENCODED_WORD = re.compile(r"=\?[\w-]{1,40}+\?([bBqQ])\?([^?\s]*+)\?=(?:\s++(?==\?))?")
_SOFT_BREAK = re.compile(r"=\r?\n")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{10,}+={0,2}+")
_BASE64_LINE = re.compile(r"(?<=[A-Za-z0-9+/]{60})\r?\n(?=[A-Za-z0-9+/=])")
_DIGITS = string.ascii_letters + string.digits + "+/_-"
_BLOB = 512
_LONG = re.compile(rf"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{{{_BLOB},}}+={{0,2}}+")
_CUT = re.compile(r"(?<!\\)[\s,\"\[\]]")
_HEX = re.compile(r"[0-9a-fA-F]++")
_PARTS = re.compile("[-/_]")
_CONTROL = regex.compile(r"[^\P{Cc}\s\x1b]|[\p{Cn}\p{Co}]")
_TAGS = re.compile("[\U000e0020-\U000e007e]+")
_ASCII = {0xE0000 + code: code for code in range(0x20, 0x7F)}
_OF_LATIN = {0xDC00 + byte: byte for byte in range(0x80, 0x100)}
_of_entity = lru_cache(4096)(html.unescape)
APART = "\n;\n"
"""Between texts that do not belong together: no phrase goes across it."""


def without_blobs(text: str) -> str:
    """The text without pictures and sounds in base64: by chance they spell any short word."""
    kept: list[str] = []
    goes_on = False
    for start, end in spans(text):
        piece = text[start:end]
        if goes_on and len(piece) - len(rest := piece.lstrip(_DIGITS)) < _BLOB:
            # Too short to be judged by itself.
            piece = rest
        kept.append(_LONG.sub(lambda match: "" if _is_blob(match[0]) else match[0], piece))
        goes_on = piece[-1:] in _DIGITS and not kept[-1].endswith(piece[-_BLOB:])
    return text if sum(map(len, kept)) == len(text) else "".join(kept)


def _is_blob(run: str) -> bool:
    """Whether a long run is no text in any way; capitals and small letters are two fifths each by chance."""
    # A piece of a longer run may begin at any of four digits that belong together.
    if any(_of_base64(run[shift:]) or _of_hex(run[shift:]) for shift in range(4)):
        return False
    kinds = (string.ascii_uppercase, string.ascii_lowercase)
    others = [len(run.encode().translate(None, kind.encode())) for kind in kinds]
    return _HEX.fullmatch(run) is not None or 5 * max(others) < 4 * len(run)


def decoded(text: str) -> Iterator[str]:
    """What a text stands for where that differs from it, layer by layer.

    Raises:
        GatewayError: `body_too_large`: more than can be read.
    """
    known: set[str] = set()
    size = 0
    for piece in _pieces(text):
        layer, read = [piece], {piece}
        for _ in range(_MOST_ROUNDS):
            if passages := [one for text in layer for one in put_together(text, known)]:
                size += sum(map(len, passages))
                yield APART.join(passages)
            found = dict.fromkeys(itertools.chain.from_iterable(_readings(one, known) for one in layer))
            layer = [one for one in found if one not in read]
            if not layer:
                break
            read.update(layer)
            size += sum(map(len, layer))
            if size > _MOST_CHARS:
                raise GatewayError("body_too_large", "too much encoded text to be read for the rules")
            yield APART.join(layer)


def _readings(text: str, known: set[str]) -> Iterator[str]:
    """A text one layer down, after each step: a later one may take for a code or for markup what is none."""
    layer = text
    for step in (_without_codes, _without_escapes, _of_mail, _without_markup):
        if (after := step(layer)) != layer:
            yield (layer := after)
    if held := APART.join(_held(text, known)):
        yield held


def _pieces(text: str) -> Iterator[str]:
    """Pieces with the end of the one before: each is a short call in C."""
    begin = 0
    for _, end in spans(text):
        yield (piece := text[begin:end])
        digits = begin + len(piece.rstrip(_DIGITS))
        begin = max(0, end - _OVERLAP)
        if digits < begin:
            # Base64 is read four by four, and hexadecimal two by two.
            begin -= (begin - digits) % 4
        elif between := _CUT.search(text, begin, end):
            begin = between.start()


def _without_codes(text: str) -> str:
    """What is surely a code: of percent signs, entities to their semicolon, `\\u`, and tag characters."""
    if "%" in text:
        text = _of_bytes(unquote_to_bytes(_WIDE_PERCENT.sub(r"\\u\1", text)))
    if "\\u" in text:
        text = _of_codes(text)
    if "&" in text:
        text = _sub(_ENTITY, _of_entity, text)
    return _TAGS.sub(lambda match: f"{JOINT}{match[0].translate(_ASCII)}{JOINT}", text)


def _without_escapes(text: str) -> str:
    """Each kind of escape in one call: a call for each escape would take a second for each megabyte."""
    if "\\" not in text:
        return text
    text = text.replace("\\\\", _HELD).replace("\\e[", "\x1b[")
    for name, sign in _SIGNS.items():
        text = text.replace(f"\\{name}", sign)
    text = _SIGN.sub(r"\1", text)
    text = _of_codes(_sub(_BYTE_CODES, _of_byte_codes, text))
    return text.replace(_HELD, "\\")


def _of_codes(text: str) -> str:
    text = _sub(_CODES, lambda codes: codes.encode().decode("unicode_escape"), text)
    text = _BRACES.sub(lambda match: chr(min(int(match[1], 16), sys.maxunicode)), text)
    if _SURROGATE.search(text):
        # Halves of a pair that two escapes stood for come together.
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _of_mail(text: str) -> str:
    """Quoted-printable, and the encoded words of an e-mail's header."""
    if "=" not in text:
        return text
    return _of_quoted(_SOFT_BREAK.sub("", _ENCODED_WORD.sub(_of_encoded_word, text)))


def _without_markup(text: str) -> str:
    """Without what is not shown; last, for it takes most away."""
    if "&" in text:
        text = _sub(_OPEN_ENTITY, _of_entity, text)
    return shown(text)


def _held(text: str, known: set[str]) -> Iterator[str]:
    """What base64 and hexadecimal digits hold that were not looked at yet."""
    joined = _BASE64_LINE.sub("", text) if "\n" in text else text
    for run in _BASE64.findall(joined):
        if run[1:].isalpha() and run[1:].islower():
            continue
        for piece in (run, *_PARTS.split(run)) if _PARTS.search(run) else (run,):
            if piece in known:
                continue
            if len(known) < _MOST_KNOWN:
                known.add(piece)
            if value := _of_base64(piece) or _of_hex(piece):
                yield value


def _sub(pattern: re.Pattern[str], form: Callable[[str], str], text: str) -> str:
    return pattern.sub(lambda match: form(match[0]), text)


def _of_bytes(data: bytes) -> str:
    """Of UTF-8, and of Latin-1 where it is none."""
    text = data.decode("utf-8", "surrogateescape")
    return text.translate(_OF_LATIN) if _SURROGATE.search(text) else text


def _of_quoted(text: str) -> str:
    """Quoted-printable; each percent sign stays what it is."""
    if _QUOTED.search(text) is None:
        return text
    return _of_bytes(unquote_to_bytes(_QUOTED.sub(r"%\1", text.replace("%", "%25"))))


def _of_encoded_word(match: re.Match[str]) -> str:
    """A piece of an e-mail's header: `=?utf-8?B?…?=`."""
    if match[1] in "qQ":
        return _of_quoted(match[2].replace("_", " "))
    try:
        return _of_bytes(base64.b64decode(match[2] + "=="))
    except ValueError:
        return match[0]


def _of_byte_codes(codes: str) -> str:
    """Bytes as Python (`\\xc3\\xa9`) and git (`\\303\\251`) write them: of UTF-8, or else of Latin-1."""
    text = codes.encode().decode("unicode_escape")
    try:
        return text.encode("latin-1").decode()
    except UnicodeDecodeError:
        return text


def _of_base64(run: str) -> str | None:
    bare = run.rstrip("=")
    if len(bare) % 4 == 1 and len(bare) > 4 * _SHORTEST:
        bare = bare[:-1]
    if len(bare) < _SHORTEST or len(bare) % 4 == 1:
        return None
    return _readable(base64.urlsafe_b64decode(bare.replace("+", "-").replace("/", "_") + "=="))


def _of_hex(run: str) -> str | None:
    run = run[2:] if run[:2] in ("0x", "0X") else run
    if len(run) % 2 and len(run) > 4 * _SHORTEST:
        run = run[:-1]
    if len(run) < _SHORTEST or len(run) % 2 or not _HEX.fullmatch(run):
        return None
    return _readable(bytes.fromhex(run))


def _readable(data: bytes) -> str | None:
    """The text that bytes are; None for anything else, and for few bytes with control characters.

    It may begin and break off in a character. UTF-16 and Latin-1 are told by their ASCII part.
    """
    data = data.removeprefix(b"\xff\xfe").removeprefix(b"\xfe\xff").replace(b"\0", b"")
    is_long = len(data) >= _SURE
    if is_long:
        data = data[:3].lstrip(_CONTINUATION) + data[3:]
    try:
        text, _ = codecs.utf_8_decode(data, "strict", not is_long)
    except UnicodeDecodeError:
        is_latin = is_long and 8 * len(data.translate(None, _PRINTABLE)) <= len(data)
        return data.decode("latin-1") if is_latin else None
    return text if is_long or not _CONTROL.search(text) else None
