"""Whether a word or phrase is in a text, however it is spelled there.

A keyword's edge that is a letter or a digit has to be the edge of a word; a word also ends at a digit, at an
underscore, where case changes inside a joined name, and anywhere in scripts that do not part their words.
"""

import itertools
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

import regex

from pointsman.errors import SettingsError
from pointsman.serve.routing.folding import (
    JOINT,
    MARK,
    PIECE,
    caseless,
    folded,
    latin_capitals,
    spans,
    squashed,
)


def _scripts(*names: str) -> str:
    return "[" + "".join(rf"\p{{Script_Extensions={name}}}" for name in names) + "]"


_IDEOGRAPHS = _scripts("Han", "Hiragana", "Katakana")
_UNPARTED = _scripts(
    *("Han", "Hiragana", "Katakana", "Bopomofo", "Hangul", "Thai", "Lao", "Khmer", "Myanmar", "Tibetan")
)
_LETTER = rf"[\p{{L}}--{_UNPARTED}]"
_PREFIXES = {"ARABIC": "[وفبكلس]{0,2}(?:ال|لل)?", "HEBREW": "[ושהכלבמ]{0,3}"}
"""Articles and prepositions that are written as one word with what follows."""
_INSIDE = rf"(?:[{JOINT}*~`]|__|==|\|\||\\-|\{{\}}|[-\\=][ \t]*+\n[\s>#/*+|]*+)*+"
"""What may stand between two letters of a word: emphasis, and a hyphen at the end of a line."""
_GROUPED = rf"{_INSIDE}[\s\-./()_']{{0,3}}+{_INSIDE}"
"""What may stand beside a digit of a long number, name or account."""
_BRACKET = rf"{JOINT}*+[\[\](){{}}]?{JOINT}*+"
"""What may stand beside a dot or an at sign, to keep a program from making a link of it."""
_INSIDE_IDEOGRAPHS = rf"[{JOINT}*~`_\s]*+"
_BETWEEN = rf"(?:[\s{JOINT}\-_/\\*~`#<>\[\]\"'+•·\p{{Pi}}\p{{Pf}}]|\.(?=\w))"
"""What may stand between two words of a phrase: no comma, and no end of a sentence."""
_SPACED = r"[\W_]{1,4}+"
"""What may stand after each letter of a word that is spelled out."""
_WRITTEN_OUT = str.maketrans({"ä": "ae", "ö": "oe", "ø": "oe", "ü": "ue", "å": "aa"})
_SHORTEST_SPELLED, _SHORTEST_JOINED, _MOST_MARKS = 4, 7, 3
_HUMP = regex.compile(r"(?<=\p{Ll}\p{M}?)(?=\p{Lu})|(?<=\p{Lu})(?=\p{Lu}\p{Ll})")
_TOKEN = regex.compile(rf"(?P<gap>[\s\-_]+)|(?P<char>.{MARK}*)", regex.S)


class Text:
    """A text as keywords are looked for in it; what only a likely match needs is made when asked for."""

    def __init__(self, folded_text: str) -> None:
        self._folded = folded_text
        self.letters = squashed(folded_text)
        self._words: str | None = None

    @property
    def words(self) -> str:
        """Caseless, with a joint where case changes inside a joined name."""
        if self._words is None:
            pieces = (self._folded[start:end] for start, end in spans(self._folded))
            self._words = "".join(caseless(_HUMP.sub(JOINT, piece)) for piece in pieces)
        return self._words


def readings(folded_text: str) -> list[Text]:
    """A folded text, and once more with capitals that look Latin as Latin ones, where it has any."""
    capitals = latin_capitals(folded_text)
    return [Text(folded_text)] if capitals is folded_text else [Text(folded_text), Text(capitals)]


@dataclass(frozen=True, slots=True)
class Keyword:
    """A word or phrase, ready to be looked for.

    Attributes:
        letters: its letters and digits; a text without them does not have it.
        pattern: what has to be found in `Text.words`.
    """

    letters: str
    pattern: "regex.Pattern[str]"

    def is_in(self, text: Text) -> bool:
        """Whether a text has it."""
        end = PIECE + len(self.letters)
        starts = range(0, len(text.letters) or 1, PIECE)
        if all(text.letters.find(self.letters, start, start + end) < 0 for start in starts):
            return False
        return self.pattern.search(text.words, concurrent=True) is not None


def spellings(keyword: str) -> Iterator[str]:
    """A keyword, and as it is written where the keyboard has no umlaut."""
    yield keyword
    composed = unicodedata.normalize("NFC", keyword).lower()
    if (written_out := composed.translate(_WRITTEN_OUT)) != composed:
        yield written_out


def compile_keyword(keyword: str) -> Keyword:
    """A keyword as the settings have it.

    Raises:
        SettingsError: nothing of it can be seen.
    """
    plain = folded(keyword).replace(JOINT, "")
    tokens = [match[0] for match in _TOKEN.finditer(caseless(plain).strip())]
    if not tokens:
        raise SettingsError(f"routing.rules: the keyword {keyword!r} holds nothing that can be seen")
    way = _left(tokens[0]) + "".join(_rest(tokens)) + _right(tokens[-1])
    if len(tokens) >= _SHORTEST_SPELLED and all(token[0].isalpha() for token in tokens):
        spelled = _SPACED.join([_left(tokens[0]), *map(_spelling, tokens[1:])])
        way = f"(?:{way}|{spelled}{_right(tokens[-1])})"
    return Keyword(squashed(plain), regex.compile(way, regex.V1))


def _rest(tokens: list[str]) -> Iterator[str]:
    """The way from the first token's end to the last one's."""
    is_long = sum(map(str.isalnum, "".join(tokens))) >= _SHORTEST_JOINED
    for index, (before, token) in enumerate(itertools.pairwise(tokens), start=1):
        after = tokens[index + 1] if index + 1 < len(tokens) else ""
        if _is_gap(token) and _is_word(before) and _is_word(after):
            may_join = is_long or (_is_ideograph(before) and _is_ideograph(after))
            is_grouped = is_long and (before[0].isdigit() or after[0].isdigit())
            yield _GROUPED if is_grouped else _BETWEEN + ("*+" if may_join else "++")
        elif _is_gap(token):
            yield r"\s++" if token.isspace() else f"{JOINT}*+{_spelling(token)}{JOINT}*+"
        else:
            if not _is_gap(before):
                yield _within(before, token, is_long)
            yield _spelling(token)


def _within(before: str, token: str, is_long: bool) -> str:
    """What may stand between two characters that are next to each other in the keyword."""
    if _is_ideograph(before) and _is_ideograph(token):
        return _INSIDE_IDEOGRAPHS
    if not (_is_word(before) and _is_word(token)):
        return _BRACKET
    return _GROUPED if is_long and (before[0].isdigit() or token[0].isdigit()) else _INSIDE


def _spelling(token: str, edge: str = "") -> str:
    """A character with its marks. Without marks it may have any in the text; with marks, these or none."""
    if _is_gap(token):
        return re.escape(token)
    base, marks = re.escape(token[0]), token[1:]
    if not marks:
        return f"{base}{edge}{MARK}*+"
    orders = itertools.permutations(marks) if len(marks) <= _MOST_MARKS else [marks]
    either = "|".join("".join(order) for order in orders)
    return f"{base}{edge}(?:{either})?+(?!{MARK})"


def _left(token: str) -> str:
    """The first token where a word begins.

    What is before it is looked at behind its first character: there, and not at every place of the text.
    """
    base = re.escape(token[0])
    for script, prefix in _PREFIXES.items():
        if unicodedata.name(token[0], "").startswith(script):
            return rf"(?<!{_LETTER}|\p{{M}})(?:{prefix}){_spelling(token)}"
    if token[0].isdigit():
        return _spelling(token, rf"(?<!\d{base})")
    if regex.match(_LETTER, token[0], regex.V1):
        return _spelling(token, rf"(?<!{_LETTER}\p{{M}}*{base})")
    return _spelling(token)


def _right(token: str) -> str:
    """The end of a word after the last token; a vowel sign or a final consonant would make it another one."""
    if token[0].isdigit():
        return r"(?!\d)"
    if regex.match(_LETTER, token[0], regex.V1):
        return rf"(?!{_LETTER}|\p{{M}})"
    return r"(?!\p{M}|[\u11a8-\u11ff])" if _is_word(token) else ""


def _is_gap(token: str) -> bool:
    return regex.match(r"[\s\-_]", token) is not None


def _is_word(token: str) -> bool:
    return regex.match(r"[\p{L}\p{N}\p{M}]", token) is not None


def _is_ideograph(token: str) -> bool:
    return regex.match(_IDEOGRAPHS, token) is not None
