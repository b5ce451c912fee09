import json

import pytest

from pointsman.errors import DataError
from pointsman.traffic.checks import CHECKS, check

RIGHT = [
    ("exact", " Paris. ", "paris"),
    ("exact", "**Paris**", "Paris"),
    ("number", "So the total is 1,234.50 dollars.", "1234.5"),
    ("number", "First 3, then 4: the answer is −7", "-7"),
    ("number", "about 1e3", "1000"),
    ("number", "12 apples", "#### 12"),
    ("number", "1\u202f234\u202f567 in all", "1234567"),
    ("choice", "The correct answer is (C).", "C"),
    ("choice", "B) because it floats", "b"),
    ("choice", "I first thought A, but no. Answer: **D**", "(D)"),
    ("regex", "order 4711 was sent", r"\b4711\b"),
    ("json-schema", '```json\n{"a": 1}\n```', json.dumps({"type": "object", "required": ["a"]})),
]
WRONG = [
    ("exact", "Paris, France", "Paris"),
    ("number", "gpt-4 has no number here", "5"),
    ("number", "it is 12.5", "12"),
    ("number", "none", "0"),
    ("choice", "A dog has four legs", "B"),
    ("choice", "", "A"),
    ("regex", "order 47", r"4711"),
    ("json-schema", "not json", json.dumps({"type": "object"})),
    ("json-schema", '{"b": 1}', json.dumps({"type": "object", "required": ["a"]})),
]


@pytest.mark.parametrize(("kind", "answer", "expected"), RIGHT)
def test_a_right_answer_passes(kind, answer, expected):
    assert check(kind, answer, expected)


@pytest.mark.parametrize(("kind", "answer", "expected"), WRONG)
def test_a_wrong_answer_fails(kind, answer, expected):
    assert not check(kind, answer, expected)


@pytest.mark.parametrize(
    ("kind", "expected"), [("number", "many"), ("choice", "Paris"), ("regex", "("), ("json-schema", "{"),
                           ("json-schema", '{"type": 5}')]
)  # fmt: skip
def test_an_expectation_of_another_form_is_an_error(kind, expected):
    with pytest.raises(DataError, match="expected"):
        check(kind, "12", expected)


@pytest.mark.parametrize("kind", sorted(CHECKS))
def test_an_empty_answer_is_never_right(kind):
    wanted = {"number": "1", "choice": "A", "regex": "a", "json-schema": "{}", "exact": "a"}[kind]
    assert not check(kind, "", wanted)


@pytest.mark.parametrize(
    "schema",
    [
        "5",
        "4.2",
        "null",
        "[1]",
        '"text"',
        '{"type": 7}',
        "{",
        '{"$ref": "http://127.0.0.1:9/x"}',
        '{"$ref": "#/no"}',
    ],
)
def test_what_is_no_schema_of_its_own_is_an_error_of_the_row(schema):
    with pytest.raises(DataError, match="expected a JSON schema"):
        check("json-schema", "{}", schema)


def test_what_is_nested_without_end_is_no_answer_and_no_schema():
    assert not check("json-schema", "[" * 99_999, "{}")
    with pytest.raises(DataError, match="expected a JSON schema"):
        check("json-schema", "{}", "[" * 99_999)


def test_a_schema_may_be_true_or_false():
    assert check("json-schema", "{}", "true") and not check("json-schema", "{}", "false")
