"""A long text is read for the rules in pieces: no call in C is long, and nothing is lost between two."""

import base64
import json
import random
import re
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import regex

from pointsman.runtime import wrappers
from pointsman.serve.failures import GatewayError
from pointsman.serve.routing import decoding, folding, keywords, request_text, rules, sticky
from pointsman.serve.routing.request_text import RequestText
from pointsman.serve.settings import Rule

MODULES = (decoding, folding, keywords, request_text, rules, wrappers)
N = 600_000
PLAIN = " the pay rolls on, annually"


def chat(content: Any, **rest: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}], **rest}


def is_private(payload: dict[str, Any], *words: str, pattern: str | None = None) -> bool:
    rule = Rule(name="private", send="local-only", keywords=words, pattern=pattern)
    return rules.first_match(rules.compile_rules([rule]), RequestText(payload, frozenset())) is not None


def random_base64(size: int, seed: int = 1) -> str:
    return base64.b64encode(random.Random(seed).randbytes(size * 3 // 4)).decode()


WORST: dict[str, Any] = {
    "letters": "a" * N,
    "runs too short for a picture": ("a" * 511 + " ") * (N // 512),
    "unbroken base64": random_base64(N),
    "digits": "7" * N,
    "hexadecimal": "deadbeef" * (N // 8),
    "backslashes": "\\" * N,
    "line feeds in JSON": "\\n" * (N // 2),
    "escapes": "a\\u0061" * (N // 7),
    "JSON in JSON in JSON": json.dumps(json.dumps(['"\n'] * (N // 20))),
    "entities": "&amp;" * (N // 5),
    "percent signs": "a%61" * (N // 4),
    "elements": "<b>" * (N // 3),
    "soft hyphens": "\u00ad\n" * (N // 2),
    "marks": "\u0301" * N,
    "long ligature": "\ufdfa" * N,
    "zero width": "\u200b" * N,
    "ideographs": "工" * N,
    "emoji": "😀" * N,
    "spaces": " " * N,
    "humps": "aA" * (N // 2),
    "Cyrillic capitals": "АВ" * (N // 2),
    "data": "data:image/" * (N // 11),
    "type": [{"type": "image" * (N // 5)}],
    "a request that does not end": "<task>" + "x" * N,
    "a prompt that does not end": "System prompt:" + "x" * N,
    "a name that does not end": "<" + "a" * N,
    "an end that does not end": "x </" + "a" * N + ">",
    "code that does not end": "```a/b\n" + "x" * N,
}


class Watched:
    """A pattern that remembers how much it was given at once."""

    def __init__(self, pattern: Any, sizes: list[int]) -> None:
        self._pattern, self._sizes = pattern, sizes

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._pattern, name)

        def watched(*given: Any, **how: Any) -> Any:
            text, *span = given[1:] if name == "sub" else given
            start, end = span if len(span) == 2 else (0, len(text))
            self._sizes.append(min(end, len(text)) - start)
            return method(*given, **how)

        return watched if callable(method) else method


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Characters that calls in C are given: of patterns, and of a text's own methods that look at all."""
    found: list[int] = []
    for module in MODULES:
        for name, value in vars(module).items():
            if isinstance(value, re.Pattern | regex.Pattern):
                monkeypatch.setattr(module, name, Watched(value, found))
    heads = tuple(Watched(head, found) for head in wrappers._HEADS)
    monkeypatch.setattr(wrappers, "_HEADS", heads)
    looks = {"translate", "replace", "encode", "split", "lower", "casefold", "splitlines", "__repr__"}

    def watch(frame: Any, event: str, called: Any) -> None:
        if event == "c_call" and called.__name__ in looks and "pointsman" in frame.f_code.co_filename:
            found.append(len(called.__self__))

    sys.setprofile(watch)
    yield found
    sys.setprofile(None)


@pytest.mark.parametrize("name", WORST)
def test_no_call_in_c_is_given_more_than_a_piece(name: str, sizes: list[int]) -> None:
    payload = chat(WORST[name])
    assert not is_private(payload, "payroll", "@corp.com", pattern="never[0-9]+there")
    sticky.Sticky(1.0).key("me", None, payload["messages"])
    wrappers.is_background_task(payload["messages"])
    wrappers.unwrapped(WORST[name] if isinstance(WORST[name], str) else "")
    assert max(sizes) <= 8 * folding.PIECE


def cut_into(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in MODULES:
        if hasattr(module, "PIECE"):
            monkeypatch.setattr(module, "PIECE", size)
    monkeypatch.setattr(decoding, "_OVERLAP", size // 2)


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces so small that every border falls everywhere."""
    cut_into(256, monkeypatch)


FORMS = {
    "as it is": "payroll",
    "capitals": "PAYROLL",
    "humps": "myPayrollData",
    "zero width": "p\u200bay\u200broll",
    "marks": "pa\u0301yro\u0308ll",
    "escapes": "".join(f"\\u{ord(char):04x}" for char in "payroll"),
    "braces": "".join(f"\\u{{{ord(char):x}}}" for char in "payroll"),
    "entities": "".join(f"&#{ord(char)};" for char in "payroll"),
    "percent signs": "".join(f"%{ord(char):02x}" for char in "payroll"),
    "JSON": json.dumps({"a": json.dumps({"b": "pay\u0072oll 工资"})}),
    "base64": base64.b64encode(b"of payroll").decode(),
    "over a line": "pay\u00ad\nroll",
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("filler", ["x", "x, ", "工", "\\n", "\u0301"], ids=ascii)
@pytest.mark.usefixtures("small_pieces")
def test_a_word_is_found_wherever_the_border_falls(form: str, filler: str) -> None:
    for before in range(150, 330, 7):
        text = (filler * before)[:before] + " " + FORMS[form] + " " + filler * 100
        assert is_private(chat(text), "payroll"), before


@pytest.mark.parametrize(
    "wrap", [lambda data: base64.b64encode(data).decode(), bytes.hex], ids=["base64", "hex"]
)
@pytest.mark.usefixtures("small_pieces")
def test_a_word_is_found_wherever_it_stands_in_a_long_unbroken_text(wrap: Any) -> None:
    for place in range(300, 900, 13):
        text = wrap((b"all is well " * 80)[:place] + b" payroll " + b"all is well " * 40)
        for prefix in ("", "x ", "id=", "see: "):
            assert is_private(chat(prefix + text), "payroll"), (place, prefix)


def test_long_base64_of_a_script_with_characters_of_several_bytes_is_read_to_its_end() -> None:
    for before in range(4):
        text = "x" * before + "今天天气很好" * 20_000 + "我的工资是多少" + "今天天气很好" * 20_000
        encoded = base64.b64encode(text.encode()).decode()
        assert is_private(chat(encoded), "工资"), before
        assert is_private(chat(f"data:text/plain;base64,{encoded}"), "工资"), before


@pytest.mark.parametrize("distance", range(0, 90, 3))
@pytest.mark.usefixtures("small_pieces")
def test_a_pattern_is_found_over_any_border(distance: int) -> None:
    text = "y" * (190 + distance) + " annual \n  \t bonus " + "y" * 200
    assert is_private(chat(text), pattern="annual bonus")
    assert is_private(chat(text), pattern=r"(?s)^y+ annual.*bonus y+$")
    assert is_private(chat(" " * 500 + text), pattern="^y+ annual bonus y+$")


def test_nothing_is_found_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    cut_into(1024, monkeypatch)
    for seed in range(40):
        picture = random_base64(6_000 + 37 * seed, seed)
        payload = chat(f"{PLAIN * seed} {picture} {PLAIN * 20}", images=[random_base64(3_000, -seed - 1)])
        assert not is_private(payload, "hr", "sk-", "pay a", "roll", "ab"), seed


def test_no_spelling_multiplies_a_text() -> None:
    request = RequestText(chat("\ufdfa\ufdfb\u0390\ufb03\u1f82" * 1_000), frozenset())
    sizes = [len(one) for text in request.words for one in (text.letters, text.words)]
    assert max(sizes) < 4 * 5_000


def test_too_much_encoded_text_is_refused_and_so_goes_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "_MOST_CHARS", 10_000)
    text = quote("é" * 3_000)
    assert not is_private(chat(text[:6_000]), "payroll")
    with pytest.raises(GatewayError) as refused:
        is_private(chat(json.dumps([json.dumps([text] * 2)] * 2)), "payroll")
    assert refused.value.code == "body_too_large"
