"""Forms that a keyword takes in a request, and texts that only look as if they held it; seeded."""

# ruff: noqa: E501 - one line a form

import base64
import html
import json
import random
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

KEYWORDS = (
    "payroll", "annual bonus", "sk-", "@corp.com", "diagnosis", "project-orion", "top secret", "résumé",
    "Straße", "kimlik", "μισθός", "зарплата", "工资", "給料明細", "급여", "เงินเดือน", "राजस्व", "راتب", "משכורת", "lương",
)  # fmt: skip
"""Twenty, of fourteen scripts and languages, with phrases, marks and edges that are no letters."""
BEFORE = ("the ", "see (", "x=", "你好 ", "- ", "** ", "", "a_", '{"k": "')
AFTER = (" of 2025", ")", ".", ",", "\n", "!", "", "_v2", '"}')

Form = Callable[[str, random.Random], str]
Place = Callable[[str], dict[str, Any]]


@dataclass(frozen=True)
class Case:
    """A request, made for a keyword.

    Attributes:
        name: keyword, form and place.
        body: without the field `model`.
    """

    keyword: str
    name: str
    body: dict[str, Any]


def _between(text: str, what: str | Callable[[], str]) -> str:
    return "".join(
        char + ((what if isinstance(what, str) else what()) if char.isalnum() and after.isalnum() else "")
        for char, after in zip(text, [*text[1:], " "], strict=True)
    )


def _invisible(rng: random.Random) -> str:
    ranges = (
        0xAD,
        0x34F,
        0x61C,
        0x180B,
        0x200C,
        0x200D,
        0x200E,
        0x202E,
        0x2060,
        0x2066,
        0xFE0F,
        0xFEFF,
        0xE0101,
    )
    return chr(rng.choice(ranges))


def _wide(text: str) -> str:
    return "".join(chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char for char in text)


def _bold(text: str) -> str:
    return "".join(
        chr(0x1D41A + ord(c) - 97)
        if "a" <= c <= "z"
        else chr(0x1D400 + ord(c) - 65)
        if "A" <= c <= "Z"
        else c
        for c in text
    )


def _escaped(text: str, levels: int) -> str:
    for _ in range(levels):
        text = json.dumps({"value": text})
    return text


def _lookalike(text: str) -> str:
    return text.translate(str.maketrans("aeopcyxi", "аеорсухі"))


_OPERATORS = (
    " + ",
    "+",
    " . ",
    ".",
    "..",
    " || ",
    " & ",
    " <> ",
    " ",
    "",
    "\n    ",
    " \\\n  ",
    " +\n",
    ".concat(",
)
_COMMANDS = ("textbf", "emph", "textcolor[rgb]{1,0,0}", "allowbreak\\texttt")


def _halves(text: str) -> tuple[str, str]:
    """Where a writer may part it: between two letters; a text without such a place stays whole."""
    places = [at for at in range(1, len(text)) if all(map(str.isalpha, text[at - 1 : at + 1]))]
    at = places[len(places) // 2] if places else len(text)
    return text[:at], text[at:]


FORMS: dict[str, Form] = {
    "as it is": lambda text, rng: text,
    "capitals": lambda text, rng: text.upper() if text != "kimlik" else "KİMLİK",
    "small": lambda text, rng: text.lower(),
    "decomposed": lambda text, rng: unicodedata.normalize("NFD", text),
    "composed": lambda text, rng: unicodedata.normalize("NFC", text),
    "full width": lambda text, rng: _wide(text),
    "mathematical bold": lambda text, rng: _bold(text),
    "invisible characters": lambda text, rng: _between(text, lambda: _invisible(rng)),
    "zero width spaces": lambda text, rng: _between(text, "\u200b"),
    "lookalikes": lambda text, rng: _lookalike(text),
    "a space of another width": lambda text, rng: text.replace(" ", rng.choice("\u00a0\u2003\u3000\u202f")),
    "several spaces": lambda text, rng: text.replace(" ", "   \t "),
    "a line break": lambda text, rng: text.replace(
        " ", rng.choice(("\n", "\r\n", "\u2028", "\n\n", " \n> "))
    ),
    "an underscore": lambda text, rng: text.replace(" ", "_"),
    "emphasis": lambda text, rng: f"**{text.replace(' ', '** _')}**",
    "an element": lambda text, rng: f"<b>{text.replace(' ', '</b> <i>')}</i>",
    "JSON": lambda text, rng: _escaped(text, 1),
    "JSON in JSON": lambda text, rng: _escaped(text, rng.randint(2, 4)),
    "escapes": lambda text, rng: "".join(f"\\u{ord(c):04x}" for c in text),
    "bytes as Python writes them": lambda text, rng: "".join(f"\\x{byte:02x}" for byte in text.encode()),
    "bytes as git writes them": lambda text, rng: "".join(
        chr(byte) if 31 < byte < 127 else f"\\{byte:03o}" for byte in text.encode()
    ),
    "entities": lambda text, rng: "".join(f"&#{ord(c)};" for c in text),
    "entities of entities": lambda text, rng: html.escape("".join(f"&#x{ord(c):x};" for c in text)),
    "percent signs": lambda text, rng: quote(text, safe=""),
    "an attribute with entities": lambda text, rng: (
        '<img alt="' + "".join(f"&#{ord(c)};" for c in text) + '">'
    ),
    "a query string": lambda text, rng: f"https://h.example/?q={quote(text, safe='')}&n=1",
    "quoted-printable": lambda text, rng: "".join(f"={byte:02x}" for byte in text.encode()),
    "the header of an e-mail": lambda text, rng: f"=?utf-8?B?{base64.b64encode(text.encode()).decode()}?=",
    "base64": lambda text, rng: base64.b64encode(f"say: {text} now".encode()).decode(),
    "tag characters": lambda text, rng: (
        " " + "".join(chr(0xE0000 + ord(c)) for c in text) + " " if text.isascii() else text
    ),
    "a terminal's colour": lambda text, rng: f"\x1b[1;31m{text}\x1b[0m",
    "a link": lambda text, rng: "{}[{}]({})".format(
        *_halves(text), rng.choice(("https://h.example/?q=1", "x.md"))
    ),
    "a wiki's link": lambda text, rng: "{}[[{}]]".format(*_halves(text)),
    "two strings": lambda text, rng: f"'{_halves(text)[0]}'{rng.choice(_OPERATORS)}'{_halves(text)[1]}'",
    "a list that is joined": lambda text, rng: 'concat("{}", "{}")'.format(*_halves(text)),
    "a constant in a string": lambda text, rng: "`{}${{'{}'}}`".format(*_halves(text)),
    "TeX": lambda text, rng: f"{_halves(text)[0]}\\{rng.choice(_COMMANDS)}{{{_halves(text)[1]}}}",
    "a soft hyphen at a line's end": lambda text, rng: (
        text if " " in text or len(text) < 5 else f"{text[:3]}\u00ad\n{text[3:]}"
    ),
}
"""What people, programs and adversaries make of a word; each still says it."""

_OPAQUE = {
    "base64",
    "escapes",
    "bytes as Python writes them",
    "bytes as git writes them",
    "percent signs",
    "tag characters",
    "entities",
    "entities of entities",
    "an attribute with entities",
    "a query string",
    "quoted-printable",
    "the header of an e-mail",
    "a list that is joined",
    "two strings",
    "a constant in a string",
}
"""Forms that letters right beside them would make another text."""


def _chat(content: Any, **rest: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}], **rest}


def _message(role: str, **rest: Any) -> dict[str, Any]:
    return {"messages": [{"role": role, **rest}, {"role": "user", "content": "analyze the plan"}]}


PLACES: dict[str, Place] = {
    "user": _chat,
    "text part": lambda text: _chat([{"type": "text", "text": "hello"}, {"type": "text", "text": text}]),
    "system": lambda text: _message("system", content=text),
    "developer": lambda text: _message("developer", content=[{"type": "text", "text": text}]),
    "assistant": lambda text: _message("assistant", content=text),
    "reasoning": lambda text: _message("assistant", content="x", reasoning_content=text),
    "refusal": lambda text: _message("assistant", refusal=text),
    "name": lambda text: _message("user", content="x", name=text),
    "tool result": lambda text: _message("tool", tool_call_id="1", content=text),
    "JSON tool result": lambda text: _message(
        "tool", tool_call_id="1", content=json.dumps({"rows": [{"v": text}]})
    ),
    "tool call": lambda text: _message(
        "assistant", tool_calls=[{"id": "1", "function": {"name": "f", "arguments": json.dumps({"q": text})}}]
    ),
    "tool": lambda text: _chat(
        "plan", tools=[{"type": "function", "function": {"name": "f", "description": text}}]
    ),
    "schema key": lambda text: _chat(
        "plan",
        tools=[{"type": "function", "function": {"name": "f", "parameters": {"properties": {text: {}}}}}],
    ),
    "response format": lambda text: _chat(
        "plan", response_format={"json_schema": {"schema": {"description": text}}}
    ),
    "metadata": lambda text: _chat("plan", metadata={"note": text}),
    "metadata key": lambda text: _chat("plan", metadata={text: "1"}),
    "user field": lambda text: _chat("plan", user=text),
    "prediction": lambda text: _chat("plan", prediction={"type": "content", "content": text}),
    "stop": lambda text: _chat("plan", stop=[text]),
    "logit bias": lambda text: _chat("plan", logit_bias={text: 1}),
    "file": lambda text: _chat([{"type": "file", "file": {"filename": text}}]),
    "data URL": lambda text: _chat(
        [
            {
                "type": "file",
                "file": {"file_data": "data:text/csv;base64," + base64.b64encode(text.encode()).decode()},
            }
        ]
        if len(text) > 8
        else text
    ),
    "a field of tomorrow": lambda text: _chat("plan", brand_new={"deep": [[{"er": text}]]}),
}
"""Where a chat can hold a text."""


def positives(seed: int, count: int) -> Iterator[Case]:
    """Requests that hold a keyword: each keyword with each form first, in places by chance; then all by chance."""
    rng = random.Random(seed)
    pairs = [(keyword, form) for form in FORMS for keyword in KEYWORDS]
    for number in range(count):
        keyword, form = pairs[number] if number < len(pairs) else (rng.choice(KEYWORDS), rng.choice([*FORMS]))
        place = rng.choice([*PLACES])
        text = FORMS[form](keyword, rng)
        before, after = rng.choice(BEFORE), rng.choice(AFTER)
        if form in _OPAQUE:
            before, after = before.rstrip("a_=") + " ", " " + after.lstrip("_v2")
        yield Case(keyword, f"{keyword}, {form}, {place}", PLACES[place](before + text + after))


_LATIN = [keyword for keyword in KEYWORDS if keyword.isascii()]
_LETTERS = "bcdfghjklmnqrstuvwxz"
NEAR: dict[str, Form] = {
    "letters before": lambda word, rng: (rng.choice(_LETTERS) + word) if word[0].isalpha() else word[1:],
    "letters behind": lambda word, rng: (word + rng.choice(_LETTERS)) if word[-1].isalpha() else word[:-1],
    "a letter less": lambda word, rng: word[:1] + word[2:],
    "a letter more": lambda word, rng: word[:2] + rng.choice("qxz") + word[2:],
    "two letters changed places": lambda word, rng: word[1] + word[0] + word[2:] if word[0] != word[1] else "x",
    "a sentence between": lambda word, rng: word.replace(" ", ". ") if " " in word else word[:-1],
    "words between": lambda word, rng: word.replace(" ", " or ") if " " in word else word[1:],
    "the other way round": lambda word, rng: " ".join(reversed(word.split())) if " " in word else word[::-1],
    "random base64": lambda word, rng: base64.b64encode(rng.randbytes(600)).decode(),
    "random identifiers": lambda word, rng: "call_" + base64.urlsafe_b64encode(rng.randbytes(18)).decode(),
    "random hexadecimal": lambda word, rng: rng.randbytes(16).hex(),
    "other words": lambda word, rng: rng.choice(
        ["risk-taking", "ask-me", "desk-top", "bob@corporate.example", "annually", "diagnostic", "stop secretly",
         "我的天空", "오늘 날씨", "ท้องฟ้า", "lượng", "погода", "καιρός", "bonus payment, annual", "projector oriole"]
    ),
}  # fmt: skip
"""What looks like a word and does not say it."""


def negatives(seed: int, count: int) -> Iterator[Case]:
    """Requests that hold none of the keywords."""
    rng = random.Random(seed)
    for _ in range(count):
        keyword, near, place = rng.choice(_LATIN), rng.choice([*NEAR]), rng.choice([*PLACES])
        text = f"{rng.choice(('the ', '(', '- '))}{NEAR[near](keyword, rng)}{rng.choice((' here', ')', '.'))}"
        yield Case(keyword, f"{keyword}, {near}, {place}", PLACES[place](text))
