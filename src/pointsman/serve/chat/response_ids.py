"""Responses and conversations that an upstream keeps: the one that made it answers, and the id names it.

A client sees `resp_local_<id>` or `conv_local_<id>` for what the local upstream calls `<id>`. So every
process, and one that starts later, finds the way without a memory, after a fallback too. Nothing secret is in
it: a changed name leads to an upstream that does not know it.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pointsman.serve.failures import GatewayError

_ID = r"[A-Za-z0-9_][A-Za-z0-9._~=-]{0,511}"
_GIVEN = re.compile(rf"(?:resp|conv)_(local|cloud)_({_ID})")
_SAID = re.compile(
    rb'("(?:id|response_id|previous_response_id|conversation|conversation_id)"\s*:\s*")'
    rb'((resp|conv)[A-Za-z0-9._~=-]*")'
)
"""In JSON, where a quote inside a text has a backslash ahead."""
_PATHS = ("/responses", "/conversations")


def maker_of(kept_id: str, names: Sequence[str]) -> tuple[str, str]:
    """Who made a response or a conversation, and its id there.

    Args:
        names: the upstreams there are; an only one made all that is not marked. Conversations may have been
            made past the gateway, at a cloud service.

    Raises:
        GatewayError: `not_found`: no upstream of this gateway made it.
    """
    given = _GIVEN.fullmatch(kept_id)
    if given is not None and given[1] in names:
        return given[1], given[2]
    is_conversation = kept_id.startswith("conv") and "cloud" in names
    if given is None and (len(names) == 1 or is_conversation):
        return ("cloud" if is_conversation else names[0]), plain_id(kept_id)
    raise GatewayError("not_found", "no upstream of this gateway made this response or conversation")


def plain_id(text: str) -> str:
    """An id that can stand in a path.

    Raises:
        GatewayError: `not_found`: no id is like that.
    """
    if not re.fullmatch(_ID, text):
        raise GatewayError("not_found", "no upstream of this gateway gave such an id")
    return text


def maker_of_turn(payload: Mapping[str, Any], names: Sequence[str]) -> str | None:
    """Who has the turns before this one; None where the request holds them itself.

    Raises:
        GatewayError: `not_found`, or `invalid_request` for an id that is none.
    """
    for name in ("previous_response_id", "conversation"):
        value = payload.get(name)
        kept_id = value.get("id") if name == "conversation" and isinstance(value, dict) else value
        if isinstance(kept_id, str):
            return maker_of(kept_id, names)[0]
        if value is not None:
            raise GatewayError("invalid_request", f"{name}: expected an id")
    return None


def as_the_upstream_says(payload: dict[str, Any], path: str) -> dict[str, Any]:
    """The request with the ids by which its upstream knows the turns before."""
    if not path.startswith(_PATHS):
        return payload
    changed: dict[str, Any] = {}
    for name in ("previous_response_id", "conversation"):
        value = payload.get(name)
        kept_id = value.get("id") if isinstance(value, dict) else value
        given = _GIVEN.fullmatch(kept_id) if isinstance(kept_id, str) else None
        if given is not None:
            changed[name] = {**value, "id": given[2]} if isinstance(value, dict) else given[2]
    return {**payload, **changed} if changed else payload


def as_the_client_sees(data: bytes, path: str, upstream: str) -> bytes:
    """An answer, or whole events of it, with ids that say who made the response."""
    if not path.startswith(_PATHS):
        return data
    return _SAID.sub(rb"\g<1>\g<3>_" + upstream.encode() + rb"_\g<2>", data)
