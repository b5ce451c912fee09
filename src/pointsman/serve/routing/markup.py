"""A text without its markup, and with the strings that code puts together put together.

Where markup was, a joint stands: a word may end there or go on. What is taken away is read in other readings.
"""

import re
from collections.abc import Iterator, Sequence

from pointsman.serve.routing.folding import JOINT

_TERMINAL = re.compile(r"\x1b\[[0-?]*+[ -/]*+[@-~]")
_ELEMENT = re.compile(
    r"<!--[^<]*?-->|<!\[CDATA\[|\]\]>"
    r"|<[/!]?[A-Za-z-](?:(?:[^<>\"']|\"[^\"<]*+\"|'[^'<]*+')*+|[^<>]*+)>"
    r"|\[/?(?:b|i|u|s|code|color|font|quote|size|url)(?:=[^\[\]]{0,99}+)?\]"
    r"|\{color(?::[^{}]{0,99}+)?\}"
)
"""Of HTML and XML, with comments, and of forums."""
_SOFT_HYPHEN = re.compile("\u00ad[ \t]*+\r?\n[ \t]*+")

_LINK = re.compile(
    r"!?\[([^\[\]\n]{0,500}+)\](?:\[[^\[\]\n]{0,99}+\]"
    r"|\((?:[^()\s]++|\([^()\s]*+\)){0,99}+(?:[ \t]++\"[^\"\n]{0,500}+\")?\))"
    r"|\[\[(?:[^\[\]|\n]{0,500}+\|)?+([^\[\]|\n]{0,500}+)\]\]|\[\[[^\[\]\n]{0,500}+\]\[([^\[\]\n]{0,500}+)\]\]"
    r"|\[([^\[\]|\n]{0,500}+)\|[^\[\]|\s]{0,2000}+\]|<[a-z]{2,9}+:[^<>|\s]{0,2000}+\|([^<>|\n]{0,500}+)>"
)
"""A link or picture of Markdown, a link of a wiki, of Org, Jira and Slack, with what is shown of it."""
_STRINGS = re.compile(
    r"[\"'`]{1,3}(?:[\s\\]*+(?:\+\+?|\|\||&|~|<>|\.\.|\.(?:concat|append)\()[\s\\]*+|\s++\.\s++|\."
    r"|[ ]{0,4}+(?:\\?\r?\n[ \t]*+)?)[bBfFrRuU]{0,2}+[\"'`]{1,3}"
)
"""The end of a string and the beginning of the next: between them an operator of any language, or nothing. A
full stop has space on either side, or on none: `"one". "Two"` are two sentences."""
_LIST = re.compile(
    r"(?:[Cc]oncat\w{0,9}+|CONCAT\w{0,9}+|paste0?|strcat|join)!? ?\([^()]{0,1000}+\)"
    r"|\[[^\[\]]{0,1000}+\]\s?+\.join\("
)
_COMMA = re.compile(r"[\"'`]\s*+,\s*+[\"'`]")
_CONSTANT = re.compile(r"\$?\{\s*+([\"'`])([^\"'`{}]{0,500}+)\1\s*+\}")
"""A constant inside of a string: `{'roll'}`."""
_NOTHING = re.compile(r"\\ (?:(?=[*`:|])|(?<=[*`:|]\\ ))")
"""What reStructuredText has between a letter and emphasis."""

_SIGNS = "\"'`^~=.cvHkr"
_MARKS = "\u0308\u0301\u0300\u0302\u0303\u0304\u0307\u0327\u030c\u030b\u0328\u030a"
_LETTERS = {"ss": "ß", "ae": "æ", "oe": "œ", "aa": "å", "o": "ø", "l": "ł", "i": "i"}
_ACCENT = re.compile(
    r"(?<=[A-Za-z])\{?\\(?!'[^aeiouyAEIOUY{])([\"'`^~=.]|[cvHkr](?=\{))\{?\\?([A-Za-z])\}{0,2}"
)
_LETTER = re.compile(r"(?<=[A-Za-z])\{?\\(ss|ae|oe|aa|o|l|i)(?:\{\}|\}| |(?![A-Za-z]))")
_COMMAND = re.compile(
    r"\\(?:[hv]space|(?:text)?color|colorbox|href|label|index)\*?(?:\[[^\[\]\n]{0,99}+\])?\{[^{}\n]{0,999}+\}"
    r"|(?<!\\)%[^\n]{0,99}+\n[ \t]*+|\\[/,]"
    r"|\\(?:bf|it|em|tt|rm|sf|sc|sl|relax|protect|null|allowbreak|nobreak|linebreak)(?![A-Za-z])[ ]?"
    r"|\\[A-Za-z]{2,30}+\*?(?:\[[^\[\]\n]{0,99}+\])?(?=\{)|[{}]"
)
"""Of TeX: what is not shown, commands before their argument, and braces."""
_IS_TEX = re.compile(r"\\(?:[A-Za-z]{2,30}+\*?(?:\[[^\[\]\n]{0,99}+\])?\{|(?<=\{\\)[a-z]{2}|allowbreak|[,/])")
_OF_CODE = (
    (_LINK, ("](", "][", "]]", "|")),
    (_LIST, ("oncat", "ONCAT", "paste", "strcat", "join")),
    (_CONSTANT, ("{",)),
    (_NOTHING, ("\\ ",)),
    (_STRINGS, ('"', "'", "`")),
)
_OF_TEX = (
    (re.compile(rf"\\(?:[{_SIGNS}][A-Za-z{{]|(?:ss|ae|oe|aa|[oli])[{{}} ]|[A-Za-z]{{2}}|[,/])"), ("\\",)),
)
"""Where a word may be parted, each with texts without which there is no such place: to find none is quick."""
_AROUND = 64
"""Characters that are read beside such a place."""


def shown(text: str) -> str:
    """Without what HTML and terminals do not show."""
    if "\x1b" in text:
        text = _TERMINAL.sub(JOINT, text)
    if "<" in text or "[" in text or "{color" in text:
        text = _ELEMENT.sub(JOINT, text)
    return _SOFT_HYPHEN.sub("", text) if "\u00ad" in text else text


def put_together(text: str, known: set[str]) -> Iterator[str]:
    """The passages in which a link, code or TeX parts a word, as what they show.

    Args:
        known: passages that are not read again; takes those that are new.
    """
    for ways, form in ((_OF_CODE, _without_code), (_OF_TEX, _without_tex)):
        for passage in _passages(text, ways):
            if passage not in known and (found := form(passage)) != passage:
                known.add(passage)
                yield found


def _passages(text: str, ways: Sequence[tuple[re.Pattern[str], Sequence[str]]]) -> Iterator[str]:
    begin = end = 0
    possible = [way for way, needed in ways if any(sign in text for sign in needed)]
    for start, stop in sorted(match.span() for way in possible for match in way.finditer(text)):
        if end and start - _AROUND > end:
            yield _of_whole_words(text, begin, end)
        if not end or start - _AROUND > end:
            begin = max(0, start - _AROUND)
        end = max(end, stop + _AROUND)
    if end:
        yield _of_whole_words(text, begin, end)


def _of_whole_words(text: str, begin: int, end: int) -> str:
    """A passage without the half of a word at its begin or its end, which would be another word."""
    if begin and text[begin - 1].isalnum():
        begin += _letters(text[begin : begin + _AROUND // 2])
    if end < len(text) and text[end].isalnum():
        end -= _letters(text[end - _AROUND // 2 : end][::-1])
    return text[begin:end]


def _letters(text: str) -> int:
    """Letters and digits at the beginning of a text."""
    return next((at for at, char in enumerate(text) if not char.isalnum()), len(text))


def _as_shown(link: re.Match[str]) -> str:
    return JOINT + link[link.lastindex or 0] + JOINT


def _without_code(text: str) -> str:
    # A picture may stand in a link.
    text = _LINK.sub(_as_shown, _LINK.sub(_as_shown, text))
    text = _LIST.sub(lambda match: _COMMA.sub(JOINT, match[0]), text)
    text = _NOTHING.sub(JOINT, _CONSTANT.sub(rf"{JOINT}\2{JOINT}", text))
    return _STRINGS.sub(JOINT, text)


def _without_tex(text: str) -> str:
    text = _ACCENT.sub(lambda match: match[2] + _MARKS[_SIGNS.index(match[1])], text)
    text = _LETTER.sub(lambda match: _LETTERS[match[1]], text)
    return _COMMAND.sub(JOINT, text) if _IS_TEX.search(text) else text
