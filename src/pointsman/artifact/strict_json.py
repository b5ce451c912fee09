"""JSON as the standard has it, and no further: what Python reads besides cannot be written back."""

import json
import math
import re
from collections.abc import Callable
from typing import Any, NoReturn

MAX_DEPTH = 32
_MAX_DIGITS = 400
_SURROGATES = re.compile("[\ud800-\udfff]")
_FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def parse_strict(
    data: str | bytes,
    *,
    surrogates: bool = False,
    depth: int = MAX_DEPTH,
    constant: Callable[[str], Any] | None = None,
) -> Any:
    """The value of a JSON text.

    Args:
        data: the text, or its UTF-8.
        surrogates: let halves of surrogate pairs pass, for a caller that refuses them with a better message.
        depth: how many lists and objects may stand inside one another.
        constant: makes a value of NaN and Infinity; None refuses them.

    Raises:
        ValueError: not UTF-8 or not JSON; a key twice in one object, NaN, Infinity or a number out of range,
            a number of more than 400 digits, half a surrogate pair, nested too deep. The message says
            which, and repeats nothing of the text.
    """
    try:
        text = data.decode("utf-8") if isinstance(data, bytes) else data
        value = (_DECODER if constant is None else _decoder(constant)).decode(text)
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise ValueError(f"it is nested deeper than {depth}") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} at line {error.lineno}, column {error.colno}") from None
    # Counting brackets is exact enough to skip the walk for nearly every honest text.
    if text.count("[") + text.count("{") > depth:
        _check_depth(value, depth)
    may_hold = isinstance(data, str) or "\\ud" in text or "\\uD" in text
    if may_hold and not surrogates and forbidden_character(value, surrogates_only=True):
        raise ValueError("a text holds half a surrogate pair")
    return value


def forbidden_character(value: Any, *, surrogates_only: bool = False) -> str | None:
    """The first control character or half of a surrogate pair in any text of a value, keys included.

    A control character would reach a terminal where such a text is shown: ESC starts a command to it. Line
    feeds and tabs are none.
    """
    if isinstance(value, str):
        found = (_SURROGATES if surrogates_only else _FORBIDDEN).search(value)
        return found[0] if found else None
    for part in _parts(value):
        if (found_one := forbidden_character(part, surrogates_only=surrogates_only)) is not None:
            return found_one
    return None


def _parts(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [*value, *value.values()]
    return value if isinstance(value, list) else []


def _check_depth(value: Any, depth: int) -> None:
    level = [value]
    for _ in range(depth):
        level = [part for outer in level for part in _parts(outer) if isinstance(part, dict | list)]
        if not level:
            return
    raise ValueError(f"it is nested deeper than {depth}")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is out of range")
    return value


def _int(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"a number has more than {_MAX_DIGITS} digits")
    return int(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("an object has one key twice")
    return made


def _decoder(constant: Callable[[str], Any]) -> json.JSONDecoder:
    return json.JSONDecoder(
        parse_constant=constant, parse_float=_float, parse_int=_int, object_pairs_hook=_object
    )


_DECODER = _decoder(_refuse_constant)
