"""JSON as the standard has it, and no further: no NaN, no lone surrogates, no duplicate keys, bounded depth.

Python's parser takes more than JSON, and what it takes extra cannot be written back. Every refusal is an
`invalid_json` whose message does not repeat the input.
"""

import json
import math
from collections.abc import Callable
from typing import Any, NoReturn

from pointsman.serve.failures import GatewayError

MAX_DEPTH = 32
_MAX_DIGITS = 400


def parse(body: bytes, constant: Callable[[str], Any] | None = None) -> Any:
    """The value in a body of UTF-8 JSON.

    Args:
        constant: makes a value of NaN and Infinity; None refuses them.

    Raises:
        GatewayError: `invalid_json`, or `invalid_request` for a number out of range.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise GatewayError("invalid_json", "the body is not UTF-8") from None
    try:
        value = (_DECODER if constant is None else _decoder(constant)).decode(text)
    except GatewayError:
        raise
    except RecursionError:
        raise GatewayError("invalid_json", f"the body is nested deeper than {MAX_DEPTH}") from None
    except ValueError:
        raise GatewayError("invalid_json", "the body is not JSON") from None
    # Counting brackets is exact enough to skip the walk for nearly every honest body.
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH:
        _check_depth(value)
    if b"\\ud" in body or b"\\uD" in body:
        _check_surrogates(value)
    return value


def parse_object(body: bytes) -> dict[str, Any]:
    """Like `parse`, for a body that must be an object."""
    return checked_object(parse(body))


def checked_object(value: Any) -> dict[str, Any]:
    """A JSON object.

    Raises:
        GatewayError: `invalid_request` for anything else.
    """
    if not isinstance(value, dict):
        raise GatewayError("invalid_request", "the body must be a JSON object")
    return value


def checked_share(value: Any, name: str) -> float:
    """A JSON number from 0 to 1; `name` is the field's.

    Raises:
        GatewayError: `invalid_request` for anything else; true and false are no numbers.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise GatewayError("invalid_request", f"{name}: expected a number from 0 to 1")
    return float(value)


def _refuse_constant(_: str) -> NoReturn:
    raise GatewayError("invalid_json", "NaN and Infinity are not JSON")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise GatewayError("invalid_json", "a number is out of range")
    return value


def _int(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise GatewayError("invalid_json", "a number has too many digits")
    return int(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise GatewayError("invalid_json", "an object has the same key twice")
    return made


def _decoder(constant: Callable[[str], Any]) -> json.JSONDecoder:
    return json.JSONDecoder(
        parse_constant=constant, parse_float=_float, parse_int=_int, object_pairs_hook=_object
    )


_DECODER = _decoder(_refuse_constant)


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return
    raise GatewayError("invalid_json", f"the body is nested deeper than {MAX_DEPTH}")


def _check_surrogates(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise GatewayError("invalid_json", "a string holds half a surrogate pair") from None
