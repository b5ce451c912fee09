"""What single values of the settings have to be: a regular expression, a web origin, headers."""

import re
from collections.abc import Mapping
from typing import Any

import re2

_HEADER_NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]{1,128}")
_CONNECTIONS_OWN = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "content-type", "accept-encoding"}
    | {"expect", "te", "trailer", "upgrade", "keep-alive", "proxy-connection", "proxy-authorization"}
)
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?")


def linear_pattern(pattern: str) -> Any:
    """A regular expression for RE2, which takes time in proportion to the text, whatever the pattern is.

    A backtracking engine takes years for `(a+)+$`. RE2 searches without holding Python's lock.

    Raises:
        ValueError: RE2 does not take it, for example a look-ahead or a back-reference.
    """
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        why = error.args[0].decode("utf-8", "replace")
        raise ValueError(
            f"not a regular expression of RE2: {why}. Look-around and back-references are not there, because "
            "their time is not bounded; see https://github.com/google/re2/wiki/Syntax"
        ) from None


def web_origin(text: str) -> str:
    """An origin as browsers write it: small letters, no default port, no slash at the end; or `*`.

    Raises:
        ValueError: it is none. `null` is what every sandboxed page says, so it names none.
    """
    origin = text.strip().lower().removesuffix("/")
    scheme, _, authority = origin.partition("://")
    default_port = {"http": ":80", "https": ":443"}.get(scheme, ":")
    if origin != "*" and (not authority or not _ORIGIN.fullmatch(origin)):
        raise ValueError("expected scheme://host[:port] without a path, or *")
    return origin.removesuffix(default_port)


def headers_by_name(headers: Mapping[str, Any]) -> dict[str, Any]:
    """The same with names in small letters.

    Raises:
        ValueError: no name of a header, a header of the connection itself, or one named twice.
    """
    named = {name.lower(): value for name, value in headers.items()}
    for name in named:
        if not _HEADER_NAME.fullmatch(name) or name in _CONNECTIONS_OWN:
            raise ValueError(f"{name!r}: expected the name of a header that is not the connection's own")
    if len(named) < len(headers):
        raise ValueError("a header is named twice")
    return named
