"""What single values of the settings have to be: a share, a pattern, an address, a web origin, headers."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import httpx
import re2
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

Target = Literal["local", "cloud"]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Seconds = Annotated[float, Field(gt=0.0, le=86_400.0)]
Count = Annotated[int, Field(ge=1)]
Price = Annotated[float, Field(ge=0.0)]

_HEADER_NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]{1,128}")
_CONNECTIONS_OWN = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "content-type", "accept-encoding"}
    | {"expect", "te", "trailer", "upgrade", "keep-alive", "proxy-connection", "proxy-authorization"}
)
_HOST = re.compile(rb"(?:[a-zA-Z0-9_-]{1,63}\.)*[a-zA-Z0-9_-]{1,63}\.?|[0-9a-f:.]*:[0-9a-f:.]*")
_ROUTE = re.compile(r"/(?:completions|responses|embeddings|messages)/*$|/openai/deployments(?:/|$)")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?")


class Part(BaseModel):
    """A table of settings; true and false are no numbers, and no text holds NUL, which no path can."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _is_of_its_kind(cls, value: object, info: ValidationInfo) -> object:
        kind = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and kind not in (bool, bool | None):
            raise ValueError("expected another value than true or false")
        if isinstance(value, str) and "\0" in value:
            raise ValueError("a text must not hold the character NUL")
        return value


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


def service_address(text: str) -> str:
    """The base address of an upstream, without slashes at its end.

    Raises:
        ValueError: no connection could ever be made to it, or it holds more than an address.
    """
    if any(character.isspace() or not character.isprintable() for character in text):
        raise ValueError("an address holds no spaces and no control characters")
    try:
        parts, parsed = urlsplit(text), httpx.URL(text)
        port = parts.port
    except (ValueError, httpx.InvalidURL):
        raise ValueError("not an address: the host or the port (1 to 65535) is impossible") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("expected http://host[:port]/path or https://…")
    if "@" in parts.netloc or "?" in text or "#" in text:
        raise ValueError("no user, password, query or fragment in an address; give the key by api_key_env")
    if (
        port == 0
        or parts.netloc.endswith(":")
        or len(parsed.raw_host) > 253
        or not _HOST.fullmatch(parsed.raw_host)
    ):
        raise ValueError("not an address: the host or the port (1 to 65535) is impossible")
    if _ROUTE.search(parts.path):
        raise ValueError("the base address ends before the route, for example with /v1")
    return text.rstrip("/")


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
