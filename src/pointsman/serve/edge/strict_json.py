"""JSON of requests: what `pointsman.artifact.strict_json` takes, with the gateway's own errors.

An upstream's JSON may be anything: `object_or_none` takes it as it comes.
"""

import json
from collections.abc import Callable
from typing import Any

from pointsman.artifact.strict_json import parse_strict
from pointsman.serve.failures import GatewayError


def parse(body: bytes, constant: Callable[[str], Any] | None = None) -> Any:
    """The value in a body of UTF-8 JSON.

    Args:
        constant: makes a value of NaN and Infinity; None refuses them.

    Raises:
        GatewayError: `invalid_json`; the message repeats nothing of the body.
    """
    try:
        return parse_strict(body, constant=constant)
    except ValueError as error:
        raise GatewayError("invalid_json", f"the body is not strict JSON: {error}") from None


def checked_object(value: Any) -> dict[str, Any]:
    """A JSON object.

    Raises:
        GatewayError: `invalid_request` for anything else.
    """
    if not isinstance(value, dict):
        raise GatewayError("invalid_request", "the body must be a JSON object")
    return value


def object_or_none(data: bytes | bytearray) -> dict[str, Any] | None:
    """A JSON object in UTF-8, or None for anything else."""
    try:
        value = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def checked_share(value: Any, name: str) -> float:
    """A JSON number from 0 to 1; `name` is the field's.

    Raises:
        GatewayError: `invalid_request` for anything else; true and false are no numbers.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise GatewayError("invalid_request", f"{name}: expected a number from 0 to 1")
    return float(value)
