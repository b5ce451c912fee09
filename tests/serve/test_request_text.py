"""What the rules read of a request: every place, every encoding, every dialect of a picture."""

import base64
import html
import json
import threading
from typing import Any

import pytest
from tests.support.keyword_forms import KEYWORDS, negatives, positives

from pointsman.serve.routing import request_text
from pointsman.serve.routing.request_text import RequestText
from pointsman.serve.routing.rules import compile_rules, first_match
from pointsman.serve.settings import Rule

WORDS = ("payroll", "annual bonus", "sk-", "工资", "hr")


def matches(payload: dict[str, Any], **condition: Any) -> bool:
    rules = compile_rules([Rule(name="private", send="local-only", **condition)])
    return first_match(rules, RequestText(payload, frozenset())) is not None


def chat(content: Any, **rest: Any) -> dict[str, Any]:
    return {"model": "auto", "messages": [{"role": "user", "content": content}], **rest}


def part(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def nested(value: Any, levels: int) -> str:
    for _ in range(levels):
        value = json.dumps({"a": value})
    return str(value)


def in_base64(text: str, encoding: str = "utf-8") -> str:
    return base64.b64encode(text.encode(encoding)).decode()


def test_generated_forms_of_twenty_keywords_are_all_found() -> None:
    assert len(KEYWORDS) == 20
    rules = {
        word: compile_rules([Rule(name="private", send="local-only", keywords=(word,))]) for word in KEYWORDS
    }
    lost = [
        case.name
        for case in positives(20260801, 1_000)
        if first_match(rules[case.keyword], RequestText(case.body, frozenset())) is None
    ]
    assert lost == []


def test_in_generated_texts_without_them_none_is_found() -> None:
    rules = compile_rules([Rule(name="private", send="local-only", keywords=KEYWORDS)])
    found = [
        case.name
        for case in negatives(20260801, 1_000)
        if first_match(rules, RequestText(case.body, frozenset())) is not None
    ]
    assert found == []


@pytest.mark.parametrize(
    "payload",
    [
        chat("x", metadata={"payroll": "1"}),
        chat("x", metadata={"a": "payroll"}),
        chat("x", user="payroll_7"),
        chat("x", stop=["payroll"]),
        chat("x", logit_bias={"payroll": 1}),
        chat("x", tomorrow={"a": [{"b": [["payroll"]]}]}),
        chat("x", tomorrow={"content": "payroll"}),
        chat("x", prediction={"type": "content", "content": "payroll"}),
        chat("x", response_format={"type": "json_schema", "json_schema": {"name": "payroll"}}),
        chat("x", tools=[{"type": "function", "function": {"name": "get_payroll"}}]),
        chat(
            "x", tools=[{"type": "function", "function": {"parameters": {"properties": {"payrollId": {}}}}}]
        ),
        {"system": [part("payroll")], "messages": []},
        {"instructions": "payroll", "input": "x"},
        {"prompt": "def f():", "suffix": "payroll"},
        {"prompt": ["a", "payroll"]},
        {"prompt": {"id": "p", "variables": {"x": "payroll"}}},
        {"messages": [{"role": "user", "name": "payroll", "content": "x"}]},
        {"messages": [{"role": "payroll", "content": "x"}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"arguments": '{"q":"payroll"}'}}]}]},
        {"messages": [{"role": "tool", "tool_call_id": "call_payroll", "content": "x"}]},
        {"input": [{"type": "function_call_output", "call_id": "c", "output": "payroll"}]},
        chat([part("annual"), part("bonus")]),
        chat([part("the pay"), part("roll")]),
        {"system": [part("the pay"), part("roll")], "messages": []},
        {"input": [{"type": "function_call_output", "output": [part("the pay"), part("roll")]}]},
        {"input": [{"type": "reasoning", "summary": [part("the pay"), part("roll")]}]},
        {"contents": [{"role": "user", "parts": [{"text": "the pay"}, {"text": "roll"}]}]},
        {"messages": [{"role": "user", "content": "annual"}, {"role": "user", "content": "bonus"}]},
    ],
    ids=str,
)
def test_every_place_is_read(payload: dict[str, Any]) -> None:
    assert matches(payload, keywords=WORDS)


def test_a_request_that_is_read_for_long_keeps_no_other_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, done, read = threading.Event(), threading.Event(), request_text.folded

    def folded(text: str) -> str:
        if "long" in text:
            begun.set()
            assert done.wait(60)
        return read(text)

    monkeypatch.setattr(request_text, "folded", folded)
    long, short = (threading.Thread(target=matches, args=(chat(text),), kwargs={"keywords": WORDS},
                                    daemon=True) for text in ("long", "short"))  # fmt: skip
    long.start()
    assert begun.wait(60)
    short.start()
    short.join(60)
    try:
        assert not short.is_alive()
    finally:
        done.set()
        long.join(60)


def test_headers_that_go_on_are_read_but_for_what_everybody_accepts() -> None:
    rules = compile_rules([Rule(name="private", send="local-only", keywords=("payroll", "json", "2023"))])

    def is_private(*headers: str) -> bool:
        return first_match(rules, RequestText(chat("x"), frozenset(), headers)) is not None

    assert is_private("*/*", "team=payroll")
    assert not is_private("application/json", "text/event-stream", "*/*", "responses=v1", "2023-06-01")


@pytest.mark.parametrize(
    "text",
    [
        *(nested("工资", levels) for levels in (1, 2, 3, 4)),
        *(nested("annual\nbonus", levels) for levels in (1, 2, 3, 4)),
        '{"cut off": "\\u0070ayro\\u006c\\u006c',
        "".join(json.dumps(char)[1:-1] for char in "𝓹𝓪𝔂𝓻𝓸𝓵𝓵"),
        r"\x70ayroll \u{70}",
        r"b'\xe5\xb7\xa5\xe8\xb5\x84.txt'",
        r'new file: "\345\267\245\350\265\204.csv"',
        r"\160ayroll",
        "".join(f"&#{ord(char)};" for char in "payroll"),
        html.escape("annual&nbsp;bonus"),
        "pay&shy;roll",
        "%70ayroll",
        "%2570ayroll",
        "%E5%B7%A5%E8%B5%84",
        "=E5=B7=A5=E8=B5=84 pay=\nroll",
        "<td>annual</td><td>bonus</td>",
        "pay<b>roll</b>",
        "\x1b[31mpayroll\x1b[0m",
        "pay\u00ad\nroll",
        "=?utf-8?B?" + in_base64("payroll") + "?=",
        "=?UTF-8?Q?pay?=\r\n =?UTF-8?Q?roll?=",
        "=70ay=72oll",
        "p=61y=6coll payr=6fll",
        "pay%u0072oll",
        "Bob =3Cpayroll=3E",
        'pay<span title="a > b">roll</span>',
        "pay<!-- a>b -->roll",
        "<![CDATA[pay]]>roll",
        "[b]pay[/b]roll",
        in_base64("here is the payroll"),
        in_base64("here is the payroll", "utf-16le"),
        "files/" + in_base64("the payroll"),
        "data:text/csv;base64," + in_base64("name,payroll\n" * 20_000),
        base64.encodebytes(b"x " * 100 + b"payroll" + b" y" * 100).decode(),
        in_base64(in_base64("here is the payroll")),
        "eyJhbGciOiJub25lIn0." + in_base64('{"sub":"payroll"}').rstrip("=") + ".x",
        b"the payroll".hex(),
        "0x" + b"the payroll".hex(),
        (b"the payroll " + b"x " * 300).hex(),
        "/srv" * 80 + "/payroll/" + "files/" * 80,
        in_base64("the payroll\x07" + " and so on" * 9),
        in_base64("\uf0b7 the payroll of everybody here"),
        in_base64("the payroll of " + "Müller " * 9, "latin-1"),
        in_base64("the payroll of " + "Müller " * 9, "utf-16"),
        in_base64("payroll of the year", "utf-16"),
        in_base64("the payroll" + " and so on" * 9)[:101],
        base64.b64encode(("the payroll" + " and so on" * 9 + "é").encode()[:-1]).decode(),
        r"sk\-proj",
        "[pay](https://h.example/a_(b))[roll][1]",
        "[![pay](x.png)](y)roll",
        "[[money|pay]]roll",
        "[[https://h.example][pay]]roll",
        "[pay|https://h.example]roll",
        "<https://h.example|pay>roll",
        'print("pay" + "roll")',
        '"pay" \\\n    f"roll"',
        json.dumps({"code": 'a = "pay" . "roll"'}),
        "SELECT CONCAT('pay', 'roll'), 'x' || 'y'",
        '"".join(["pay", "roll"])',
        '["pay", "roll"].join("")',
        "<p>pay{'roll'}</p>",
        "pay''roll''",
        "pay'''roll'''",
        r"pay\ **roll**",
        r"\textbf{pay}roll",
        r"pay\hspace{0pt}roll",
        "the \\emph{pay}% of a year\n  roll",
        r"{\bf pay}roll",
        r"p\'ay{\bf r}oll",
        "{color:red}pay{color}roll",
        "the s<b>k</b>-proj",
        r"printf '\e[1mpay\e[0mroll'",
        "hi" + "".join(chr(0xE0000 + ord(char)) for char in "payroll"),
    ],
)
def test_what_a_text_stands_for_is_read(text: str) -> None:
    assert matches(chat(text), keywords=WORDS)
    assert matches({"messages": [{"role": "tool", "content": text}]}, keywords=WORDS)


@pytest.mark.parametrize(
    "payload",
    [
        chat("risk-taking payrolls, annual, bonus"),
        chat('He said "pay". "Roll it", she said; "pay", "roll" and \'pay\', \'roll\'.'),
        chat('{"pay": "roll"} ["pay", "roll"] f(pay)[roll] pay[roll] f"{pay} {roll}" "pay"\t"roll"'),
        chat(r"C:\pay\roll \d{3}pay[0-9]{2}roll \pay(roll) x = {pay} [roll]"),
        chat("annual", tools=[{"type": "function", "function": {"name": "bonus"}}]),
        chat(
            [{"type": "image_url", "image_url": {"url": "data:image/png;base64," + "iVBOR/hr/HR+" * 2_000}}]
        ),
        chat("see", images=[base64.b64encode(bytes(range(256)) * 400).decode()]),
        {"model": "payroll", "prompt": "x"},
    ],
    ids=lambda payload: str(payload)[:60],
)
def test_what_is_not_there_is_not_found(payload: dict[str, Any]) -> None:
    assert not matches(payload, keywords=WORDS)


STEPS = {
    "a percent sign": lambda text: text.replace(" ", "%20").replace("@", "%40"),
    "an entity": lambda text: text.replace(" ", "&nbsp;").replace("@", "&#64;"),
    "an escape": lambda text: text.replace(" ", "\\u0020").replace("@", "\\u0040"),
}
AROUND = {
    "quoted-printable": "https://x.example/?q={}&n=1",
    "an open entity": "?a=1&{}&b=2",
    "markup": "a <{}> b",
    "an attribute": "<img alt='{}'>",
    "an escape": r"C:\{}\x",
    "a comment": "<!-- {} -->",
}


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    "text",
    ["CARD NUMBER", "4111 1111", "deal list", "times table", "notice list", "north plan", "bob@corp.example"],
)
def test_no_step_of_decoding_takes_from_another_what_it_would_find(text: str, step: str, around: str) -> None:
    assert matches(chat(AROUND[around].format(STEPS[step](text))), keywords=(text,))


def test_the_passage_beside_a_link_begins_and_ends_with_a_whole_word() -> None:
    for distance in range(100):
        between = "." * distance
        assert not matches(chat(f"unpayroll {between}[a](b)c{between} payrolls"), keywords=WORDS)
        assert matches(chat(f"{between}pay[roll](b){between}"), keywords=WORDS)
        assert matches(chat(f"{'我' * distance}工[资](b){'我' * distance}"), keywords=WORDS)


@pytest.mark.parametrize(
    ("keyword", "text"),
    [
        ("Müller", r"M\"uller, M\"{u}ller, M{\"u}ller"),
        ("Müller", json.dumps({"a": r"Frau M\"uller"})),
        ("Gonçalves", r"Gon\c{c}alves"),
        ("Straße", r"Stra\ss e"),
        ("Straße", r"Stra{\ss}e"),
        ("Søren", r"S\o{}ren"),
    ],
)
def test_letters_that_tex_writes_are_read(keyword: str, text: str) -> None:
    for one in text.split(", "):
        assert matches(chat(f"the {one} of"), keywords=(keyword,))


@pytest.mark.parametrize("word", ["user", "content", "role", "text", "function", "stream"])
def test_the_protocols_own_words_say_nothing(word: str) -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    assert not matches(chat([part("x")], tools=tools, stream=True), keywords=(word,))
    assert matches(chat([part(f"a {word} b")]), keywords=(word,))


@pytest.mark.parametrize("prompt", [[15496, 995], [[15496], [995]]])
def test_numbers_of_tokens_cannot_be_read_and_stay(prompt: list[Any]) -> None:
    assert matches({"prompt": prompt}, keywords=("payroll",))
    assert matches({"prompt": prompt}, pattern="x")
    rule = Rule(name="a", send="cloud", keywords=("payroll",))
    assert first_match(compile_rules([rule]), RequestText({"prompt": prompt}, frozenset())) is None


class TestPatterns:
    @pytest.mark.parametrize(
        ("pattern", "text"),
        [
            (r"Projekt-\d", "Projekt\u2011\uff17"),
            (r"Über Projekt", "U\u0308ber  Projekt"),
            ("annual bonus", "annual\n  bonus"),
            ("payroll", "p\u0430yroll"),
            ("payroll", "pay\u200broll"),
            ("[А-Я]{6}", "ПРИВЕТ"),
            (r"\d{3}-\d{2}-\d{4}", "１２３-４５-６７８９"),
            ("ａｂｃ", "abc"),
            (r"4711\.", '{"n": "\\u00344711."}'),
            (r"\b123456789\b", "123456789"),
        ],
    )
    def test_pattern_and_text_are_folded_alike(self, pattern: str, text: str) -> None:
        assert matches(chat(text), pattern=pattern)

    def test_a_number_is_text(self) -> None:
        assert matches(chat("x", metadata={"ssn": 123456789}), pattern=r"\b\d{9}\b")

    @pytest.mark.parametrize(
        ("pattern", "text"), [("[а-я]{5}", "hello"), ("[A-Z]{3}", "abc"), ("ABC", "abc"), ("[à-ö]", "o")]
    )
    def test_a_class_and_case_mean_what_they_say(self, pattern: str, text: str) -> None:
        assert not matches(chat(text), pattern=pattern)


IMAGE = "iVBORw0KGgo" + "A" * 100


class TestImages:
    @pytest.mark.parametrize(
        "payload",
        [
            chat([{"type": "image_url", "image_url": {"url": "http://x/a.png"}}]),
            chat([{"type": "image_url", "image_url": "http://x/a.png"}]),
            chat([{"type": "input_image", "image_url": "x"}]),
            chat([{"type": "input_audio", "input_audio": {"data": "AAA", "format": "wav"}}]),
            chat([{"type": "audio_url", "audio_url": {"url": "x"}}]),
            chat([{"type": "video_url", "video_url": {"url": "x"}}]),
            chat([{"type": "file", "file": {"file_id": "f"}}]),
            chat([{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}}]),
            chat([{"type": "document", "source": {"type": "text", "data": "AA"}}]),
            chat("look: data:image/png;base64," + "A" * 100),
            chat("![](data:image/svg+xml,%3Csvg%20xmlns%3D%22)"),
            chat(IMAGE),
            chat("x", image_data=[{"data": "AA", "id": 1}]),
            chat("x", attachments=[{"file_id": "a"}]),
            chat("x", tools=[{"type": "code_interpreter", "container": {"file_ids": ["a"]}}]),
            {"messages": [{"role": "user", "content": "x", "images": ["AAA"]}]},
            {
                "messages": [
                    {"role": "tool", "content": json.dumps({"shot": "data:image/png;base64," + IMAGE})}
                ]
            },
            {"prompt": "x", "images": ["AAA"]},
            {"prompt": {"prompt_string": "x", "multimodal_data": ["AA"]}},
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "x"}]}]},
            {"input": [{"type": "computer_call_output", "output": {"type": "computer_screenshot"}}]},
            {"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": "AA"}}]}]},
            {"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]},
        ],
        ids=lambda payload: str(payload)[:80],
    )
    def test_a_picture_a_sound_or_a_file_is_seen_in_every_dialect(self, payload: dict[str, Any]) -> None:
        assert matches(payload, has_images=True)

    @pytest.mark.parametrize(
        "payload",
        [
            chat("an image of a file: data:image/png;base64 is how it begins"),
            chat("x", modalities=["text", "audio"], audio={"voice": "a", "format": "wav"}),
            chat("x", metadata={"file": "a.py", "image": "b"}),
            chat("x", tools=[{"type": "file_search"}, {"type": "image_generation"}]),
            chat(
                "x", tools=[{"type": "function", "function": {"parameters": {"properties": {"image": {}}}}}]
            ),
            chat([{"type": "tool_use", "name": "Read", "input": {"file": "a.py", "image": "x"}}]),
            chat("x", images=[], image_url=None),
            {"input": [{"type": "file_search_call", "queries": ["x"]}]},
        ],
        ids=lambda payload: str(payload)[:80],
    )
    def test_what_only_speaks_of_one_is_none(self, payload: dict[str, Any]) -> None:
        assert not matches(payload, has_images=True)
