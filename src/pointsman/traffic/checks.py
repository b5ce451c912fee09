"""Scores that need no judge: an answer is right or wrong by what the row expects."""

import contextlib
import json
import re
from collections.abc import Callable

from pointsman.errors import DataError

_NUMBER = re.compile(r"[-+−]?(?:\d{1,3}(?:[,\u00a0\u202f']\d{3})+|\d+)?(?:\.\d+)?(?:[eE][-+]?\d+)?")
_STATED = re.compile(
    r"\b(?:answer|option|choice)\b[^A-Za-z0-9]{0,12}(?:is|:|=)?[^A-Za-z0-9]{0,6}([A-J])\b", re.I
)
_LETTER = re.compile(r"(?:^|[\s(\[*])([A-J])(?=$|[\s)\].,:*])")
_FENCED = re.compile(r"```(?:json)?\s*\n(.*?)```", re.S)


def check(kind: str, answer: str, expected: str) -> bool:
    """Whether an answer is right.

    Args:
        kind: one of `CHECKS`.
        answer: what the model said.
        expected: what the row expects, in the form that the check needs.

    Raises:
        DataError: `expected` is not in that form.
    """
    return CHECKS[kind](answer, expected)


def _exact(answer: str, expected: str) -> bool:
    return _plain(answer) == _plain(expected)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).strip(" .!\"'`*")


def _number(answer: str, expected: str) -> bool:
    wanted = _numbers(expected)
    if not wanted:
        raise DataError(f"expected a number, found {expected[:60]!r}")
    found = _numbers(answer)
    return bool(found) and abs(found[-1] - wanted[-1]) <= 1e-6 * max(1.0, abs(wanted[-1]))


def _numbers(text: str) -> list[float]:
    """Every number of a text, in order; signs, thousands and exponents are read."""
    found = []
    for match in _NUMBER.finditer(text):
        digits = re.sub("[,\u00a0\u202f']", "", match[0]).replace("−", "-")
        # A minus behind a word or a digit is a hyphen: "gpt-4", "3-4".
        before = text[match.start() - 1 : match.start()]
        if digits[:1] == "-" and before.isalnum():
            digits = digits[1:]
        if any(c.isdigit() for c in digits):
            found.append(float(digits))
    return found


def _choice(answer: str, expected: str) -> bool:
    wanted = re.fullmatch(r"[\s(]*([A-Ja-j])[\s).:]*", expected)
    if wanted is None:
        raise DataError(f"expected a letter from A to J, found {expected[:60]!r}")
    found = _STATED.findall(answer) or _LETTER.findall(answer)
    return bool(found) and found[-1].upper() == wanted[1].upper()


def _regex(answer: str, expected: str) -> bool:
    try:
        return re.search(expected, answer) is not None
    except re.error as error:
        raise DataError(f"expected a regular expression, found {expected[:60]!r}: {error}") from None


def _json_schema(answer: str, expected: str) -> bool:
    import jsonschema
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    fenced = _FENCED.search(answer)
    try:
        schema = json.loads(expected)
        if not isinstance(schema, dict | bool):
            raise ValueError("it is no object")
        validator = jsonschema.validators.validator_for(schema)
        validator.check_schema(schema)
        with contextlib.suppress(json.JSONDecodeError, RecursionError):
            # An empty registry: nothing is fetched from elsewhere.
            value = json.loads(fenced[1] if fenced else answer)
            return bool(validator(schema, registry=Registry()).is_valid(value))
    except (ValueError, RecursionError, jsonschema.SchemaError, Unresolvable) as error:
        said = (str(error).splitlines() or [""])[0]
        raise DataError(f"expected a JSON schema, found {expected[:60]!r}: {said}") from None
    return False


CHECKS: dict[str, Callable[[str, str], bool]] = {
    "exact": _exact,
    "number": _number,
    "choice": _choice,
    "regex": _regex,
    "json-schema": _json_schema,
}
"""By the name that `--check` takes. `expected` is text, a number, a letter, a pattern, a schema."""
