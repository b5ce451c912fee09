"""JSON that Python reads and the standard has not is refused by name."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.artifact.strict_json import MAX_DEPTH, forbidden_character, parse_strict


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1, "a": 1}', "one key twice"),
        ('[{"a": {"b": 1, "\\u0062": 2}}]', "one key twice"),
        ("[NaN]", "NaN is not JSON"),
        ("-Infinity", "-Infinity is not JSON"),
        ("[1e400]", "out of range"),
        ("-1e999", "out of range"),
        ("1" * 401, "more than 400 digits"),
        ('"\\ud800"', "half a surrogate pair"),
        ('{"\\udfff": 1}', "half a surrogate pair"),
        ("[" * 33 + "]" * 33, "nested deeper"),
        ("[" * 100_000, "nested deeper"),
        ('{"a":' * 33 + "1" + "}" * 33, "nested deeper"),
        (b'"\xff"', "not UTF-8"),
        (b'\xef\xbb\xbf"a"', "line 1"),
        ('"a\nb"', "line 1"),
        ("", "line 1"),
        ("{} {}", "Extra data"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_what_is_no_json_is_refused(text: str | bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_strict(text)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(values)
def test_what_is_json_is_read_as_python_reads_it(value: object) -> None:
    text = json.dumps(value, ensure_ascii=False)
    assert parse_strict(text) == parse_strict(text.encode()) == json.loads(text)


def test_the_deepest_that_is_read() -> None:
    assert parse_strict("[" * MAX_DEPTH + "]" * MAX_DEPTH)


@pytest.mark.parametrize(
    ("value", "found"), [("a\x1b", "\x1b"), ({"\x00": 1}, "\x00"), ([{"a": ["\x9b"]}], "\x9b")]
)
def test_a_character_that_a_terminal_obeys_is_found_anywhere(value: object, found: str) -> None:
    assert forbidden_character(value) == found


@pytest.mark.parametrize("value", ["a\n\tb", "é工🚦", {"a": [1, None, True, 1.5]}, "\u200b"])
def test_other_characters_are_left_alone(value: object) -> None:
    assert forbidden_character(value) is None
