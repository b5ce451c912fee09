"""Web pages of other origins that the operator names: they may ask, and read the answer.

A browser asks before it sends a page's JSON or key elsewhere (a preflight, which never has a key), and shows
the page only an answer that names its origin: https://fetch.spec.whatwg.org/#http-cors-protocol.
"""

import re
from collections.abc import Collection

from pointsman.serve.edge.http import Exchange

_HEADER_NAMES = re.compile(r"[A-Za-z0-9_, -]{1,2048}")
_MAX_AGE_S = b"600"


def named_origin(exchange: Exchange, origins: Collection[str]) -> str | None:
    """The origin of the page that asks, where the operator named it; None for every other request.

    Args:
        origins: as browsers write them, or `*`.
    """
    asked = [value for name, value in exchange.scope["headers"] if name == b"origin"]
    if len(asked) != 1 or not asked[0].isascii():
        return None
    origin = str(asked[0].decode("ascii"))
    return origin if origin in origins or ("*" in origins and origin != "null") else None


def answer_headers(origin: str | None) -> list[tuple[bytes, bytes]]:
    """What every answer says where pages of other origins are named, errors and streams too."""
    headers = [(b"vary", b"origin")]
    if origin is not None:
        headers.append((b"access-control-allow-origin", origin.encode("ascii")))
        headers.append((b"access-control-expose-headers", b"*"))
    return headers


async def answer_preflight(exchange: Exchange) -> bool:
    """Answer a browser's question before the request; False where this is none.

    The request itself is judged when it comes: its route, its method, its key.
    """
    if exchange.method != "OPTIONS" or exchange.header(b"access-control-request-method") is None:
        return False
    exchange.route = "preflight"
    headers = [
        (b"access-control-allow-methods", b"GET, POST, DELETE"),
        (b"access-control-max-age", _MAX_AGE_S),
    ]
    names = exchange.header(b"access-control-request-headers") or ""
    if _HEADER_NAMES.fullmatch(names):
        headers.append((b"access-control-allow-headers", names.encode("ascii")))
    if exchange.header(b"access-control-request-private-network") == "true":
        headers.append((b"access-control-allow-private-network", b"true"))
    await exchange.start(204, headers)
    await exchange.chunk(b"", more=False)
    return True
