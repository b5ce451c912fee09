"""One spelling for what reads alike: compatibility forms, invisible code points, marks, case, lookalikes.

Every step maps one character at a time, so that the time is linear in the text whatever is in it; canonical
normalisation sorts marks instead, which a long run of them makes quadratic.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping

import regex

from pointsman.serve.routing.lookalikes import CAPITALS, SMALL

JOINT = "\x1f"
"""Stands where a word may end or go on: a control character, an invisible space, two parts of a message."""
_CLASSES = (1, *range(10, 37), 202, 214, 216, 218, 220, 222, 224, 226, 228, 230, 232, 233, 234, 240)
MARK = r"[\p{Me}" + "".join(rf"\p{{ccc={number}}}" for number in _CLASSES) + "]"
"""A mark above, below or through a letter, without which the word is still read. Unicode's combining class
tells it from the vowel signs, voicing marks and tones of other scripts."""

_MARK = regex.compile(MARK)
_IGNORABLE = regex.compile(r"[\p{Default_Ignorable_Code_Point}\p{Cf}\u0640]")
_APOSTROPHES = "\u2018\u2019\u201b\u02b9\u02bc\u2032"
"""Programs that write for people turn a straight one into these."""
_DASH = regex.compile(r"[\p{Pd}\u2212]")
_LETTER_IN_NAME = re.compile(
    r"(?:\bLATIN (?:CAPITAL |SMALL )?LETTER (?:SMALL CAPITAL |DOTLESS )?|REGIONAL INDICATOR SYMBOL LETTER )"
    r"([A-Z]|AE)(?: WITH .*)?$|LATIN (?:CAPITAL|SMALL) LIGATURE (OE)$"
)
_IOTA_BELOW = "\u0345"
"""A mark below, which upper and lower case would make a letter."""
_ARABIC = {"\u06a9": "\u0643", "\u06cc": "\u064a"}
"""Kaf and yeh of Persian keyboards, as those of Arabic ones."""
_LONGEST_FORM = 8
"""A compatibility form that is longer (U+FDFA alone) stays one character: it would multiply a text."""
PIECE = 1 << 16
"""Characters in one call of the interpreter's own loops, which hold its lock while everything else waits."""
_APART = re.compile(r"(?s).*(?<!\\)[\s\",\[\]]")
_PUNCTUATION = re.compile(r"(?s).*[^\w+/=\\&%;#{}-]")


class _Table(dict[int, str | None]):
    """A map for `str.translate` that works out a character when it first comes; None takes it away."""

    def __init__(self, form: Callable[[str], str]) -> None:
        self._form = form

    def __missing__(self, code: int) -> str | None:
        value = self[code] = self._form(chr(code)) or None
        return value


def spans(text: str) -> Iterator[tuple[int, int]]:
    """Where pieces of at most PIECE characters begin and end: between words, if there is such a place."""
    start = 0
    while len(text) - start > PIECE:
        middle, end = start + PIECE // 2, start + PIECE
        between = _APART.match(text, middle, end) or _PUNCTUATION.match(text, middle, end)
        end = between.end() - 1 if between and between.end() - 1 > start else end
        yield start, end
        start = end
    yield start, len(text)


def encoded(text: str) -> bytes:
    """The text's UTF-8."""
    return b"".join(text[start : start + PIECE].encode() for start in range(0, len(text), PIECE))


def folded(text: str) -> str:
    """Compatibility forms and digits in their plain form, decomposed; what cannot be seen is gone."""
    return _mapped(text, _FOLDED)


def caseless(text: str) -> str:
    """A folded text without case, and letters that look Latin as Latin ones."""
    return _mapped(text, _CASELESS)


def squashed(text: str) -> str:
    """A folded text's letters and digits alone, caseless and without marks."""
    return _mapped(text, _SQUASHED)


def unmarked(text: str) -> str:
    """A folded text without marks and joints, letters that look Latin as Latin ones, case as it is."""
    return _mapped(text, _UNMARKED)


def latin_capitals(text: str) -> str:
    """A folded text with the capitals that look Latin as Latin ones."""
    starts = range(0, len(text), PIECE)
    has_none = all(_CAPITAL.search(text, start, start + PIECE) is None for start in starts)
    return text if has_none else _mapped(text, _CAPITALS)


def _mapped(text: str, table: Mapping[int, str | None]) -> str:
    pieces = range(0, len(text), PIECE)
    return "".join(text[start : start + PIECE].translate(table) for start in pieces)


def _fold(char: str) -> str:
    if char.isspace() and char not in "\x1c\x1d\x1e\x1f":
        return "\n" if char in "\n\r\v\f\x85\u2028\u2029" else " "
    name = unicodedata.name(char, "")
    if unicodedata.category(char) == "Cc" or (name.endswith(("FILLER", "SPACE")) and _IGNORABLE.match(char)):
        return JOINT
    if _IGNORABLE.match(char):
        return ""
    if name == "BRAILLE PATTERN BLANK":
        return " "
    if name.startswith("PARENTHESIZED LATIN"):
        return _plain(char)
    plain = unicodedata.normalize("NFKD", char)
    return "".join(map(_plain, plain)) if len(plain) <= _LONGEST_FORM else char


def _plain(char: str) -> str:
    if char.isascii():
        return char
    if char.isspace():
        return " "
    if char.isdecimal():
        return str(unicodedata.decimal(char))
    if _DASH.match(char):
        return "-"
    if char in _APOSTROPHES:
        return "'"
    if char == _IOTA_BELOW:
        return ""
    if _IGNORABLE.match(char):
        return JOINT
    name = unicodedata.name(char, "")
    letter = None if unicodedata.combining(char) else _LETTER_IN_NAME.search(name)
    if letter is None:
        return _ARABIC.get(char, char)
    plain = letter[1] or letter[2]
    return plain if "CAPITAL" in name or "REGIONAL" in name else plain.lower()


def _without_case(char: str) -> str:
    # Folding once more takes apart what casefold puts together, such as the iota below a Greek vowel.
    plain = unicodedata.normalize("NFKD", char.casefold())
    return ("".join(map(_plain, plain)) if len(plain) <= _LONGEST_FORM else char).translate(_SMALL)


def _squash(char: str) -> str:
    small = _without_case(char)
    return "".join(c for c in small if unicodedata.category(c)[0] in "LNM" and not _MARK.match(c))


def _unmark(char: str) -> str:
    return "" if char == JOINT or _MARK.match(char) else char.translate(_SMALL).translate(_CAPITALS)


_SMALL = str.maketrans(SMALL)
_CAPITALS = str.maketrans(CAPITALS)
_CAPITAL = re.compile("[" + "".join(CAPITALS) + "]")
_FOLDED, _CASELESS = _Table(_fold), _Table(_without_case)
_SQUASHED, _UNMARKED = _Table(_squash), _Table(_unmark)
