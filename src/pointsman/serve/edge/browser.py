"""What a web page elsewhere may not do: ask a gateway without keys through the browser of its operator.

A browser says where a request comes from: `Origin` and `Sec-Fetch-Site` cannot be forged by a page. `Host`
can be any name that its owner lets point here (DNS rebinding), but never an address or `localhost`.
"""

import ipaddress
import re
from functools import lru_cache

from pointsman.serve.edge.http import Exchange
from pointsman.serve.failures import GatewayError

_AUTHORITY = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?P<port>:[0-9]{1,5})?")
_OWN_SITE = frozenset({"same-origin", "none"})


def refuse_foreign_pages(exchange: Exchange, hosts: frozenset[str], *, is_named: bool = False) -> None:
    """Let through what no page elsewhere can have sent.

    Args:
        hosts: names, in small letters, by which the gateway is reached beside `localhost` and addresses.
        is_named: the operator named the origin of the page that asks; only the name it asks by still counts.

    Raises:
        GatewayError: `forbidden`: the name it was asked by, or the page that asks, is not its own.
    """
    asked = _values(exchange, b"host")
    if any(not _is_own(host, hosts) for host in asked) or len(asked) > 1:
        raise GatewayError("forbidden", "asked by a name that is not its own; see server.hosts")
    if is_named:
        return
    if not _OWN_SITE.issuperset(_values(exchange, b"sec-fetch-site")):
        raise GatewayError("forbidden", "a web page elsewhere may not ask; see server.cors_origins")
    for origin in _values(exchange, b"origin"):
        scheme, _, authority = origin.partition("://")
        default = {"http": ":80", "https": ":443"}.get(scheme, "")
        is_same = authority.removesuffix(default) in [host.removesuffix(default) for host in asked]
        if not default or not (is_same or authority.removesuffix(default) in hosts):
            raise GatewayError("forbidden", "a web page elsewhere may not ask; see server.cors_origins")


def _values(exchange: Exchange, name: bytes) -> list[str]:
    return [
        value.decode("latin-1").strip().lower() for key, value in exchange.scope["headers"] if key == name
    ]


@lru_cache(maxsize=64)
def _is_own(authority: str, hosts: frozenset[str]) -> bool:
    name = _name_of(authority)
    if name in ("localhost", *hosts) or name.endswith(".localhost"):
        return True
    try:
        return bool(ipaddress.ip_address(name.strip("[]")))
    except ValueError:
        return False


def _name_of(authority: str) -> str:
    """The name or address in `name:port`, without the root's dot; nothing where it is no such thing."""
    match = _AUTHORITY.fullmatch(authority)
    return match["name"].removesuffix(".") if match else ""
