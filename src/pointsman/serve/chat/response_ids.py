"""Responses that an upstream keeps: the one that made it answers, and the id names it.

A client sees `resp_local_<id>` for what the local upstream calls `<id>`. So every process, and one that
starts later, finds the way without a memory, after a fallback too. Nothing secret is in it: a changed name
leads to an upstream that does not know the response.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pointsman.serve.failures import GatewayError

_GIVEN = re.compile(r"resp_(local|cloud)_([A-Za-z0-9._~=-]{1,512})")
_SAID = re.compile(rb'("(?:id|response_id|previous_response_id)"\s*:\s*")(resp[A-Za-z0-9._~=-]*")')
"""In JSON, where a quote inside a text has a backslash ahead."""
_PATH = "/responses"


def maker_of(response_id: str, names: Sequence[str]) -> tuple[str, str]:
    """Who made a response, and its id there.

    Args:
        names: the upstreams there are; an only one made all that is not marked.

    Raises:
        GatewayError: `not_found`: no upstream of this gateway made it.
    """
    given = _GIVEN.fullmatch(response_id)
    if given is not None and given[1] in names:
        return given[1], given[2]
    if given is None and len(names) == 1 and _GIVEN.fullmatch(f"resp_local_{response_id}"):
        return names[0], response_id
    raise GatewayError("not_found", "no upstream of this gateway made this response")


def maker_of_turn(payload: Mapping[str, Any], names: Sequence[str]) -> str | None:
    """Who has the turns before this one; None where the request holds them itself.

    Conversations of their own (`conversation`) are made past the gateway, at a cloud service.

    Raises:
        GatewayError: `not_found`, or `invalid_request` for an id that is none.
    """
    previous = payload.get("previous_response_id")
    if previous is not None:
        if not isinstance(previous, str):
            raise GatewayError("invalid_request", "previous_response_id: expected a text")
        return maker_of(previous, names)[0]
    if payload.get("conversation") is None:
        return None
    return "cloud" if "cloud" in names else names[0]


def as_the_upstream_says(payload: dict[str, Any], path: str) -> dict[str, Any]:
    """The request with the id by which its upstream knows the turn before."""
    previous = payload.get("previous_response_id")
    given = _GIVEN.fullmatch(previous) if path == _PATH and isinstance(previous, str) else None
    return payload if given is None else {**payload, "previous_response_id": given[2]}


def as_the_client_sees(data: bytes, path: str, upstream: str) -> bytes:
    """An answer, or whole events of it, with ids that say who made the response."""
    if not path.startswith(_PATH):
        return data
    return _SAID.sub(rb"\g<1>resp_" + upstream.encode() + rb"_\g<2>", data)
