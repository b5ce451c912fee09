"""Headers of an upstream: its key and the operator's own in every request, and which of the client's go on.

Of an answer, those that come back.
"""

import os

from pointsman import __version__
from pointsman.errors import SettingsError
from pointsman.serve.upstream_settings import UpstreamSettings

ANTHROPIC_VERSION = b"2023-06-01"
"""Of Anthropic's protocol, where the client names none: its API wants one."""

FORWARDED = (
    *(b"accept", b"traceparent", b"tracestate", b"x-request-id", b"openai-beta"),
    *(b"anthropic-version", b"anthropic-beta"),
)
"""Request headers that go on to an upstream; all others stay here, the client's key above all."""

RETURNED = (
    *("retry-after", "openai-processing-ms", "openai-model", "openai-version", "apim-request-id"),
    "request-id",
)
RETURNED_FAMILIES = ("x-ratelimit-", "anthropic-ratelimit-")
"""Answer headers that come back, and how others begin that do; nothing else does."""

_MAX_HEADER_BYTES = 2048
"""Claude Code's list of beta features alone takes hundreds."""


def own_headers(settings: UpstreamSettings, name: str) -> list[tuple[bytes, bytes]]:
    """What every request to an upstream says: the kind of body, its key, and the operator's headers.

    Raises:
        SettingsError: a key or a value that is not there, or that no header can have.
    """
    key, further = read_key(settings, name), set_headers(settings, name)
    headers = [
        (b"content-type", b"application/json"),
        (b"accept-encoding", b"identity"),
        (b"user-agent", f"pointsman/{__version__}".encode()),
    ]
    if key is not None:
        # A server that speaks both may look for either.
        if settings.api in ("openai", "both"):
            headers.append((b"authorization", b"Bearer " + key.encode()))
        if settings.api in ("anthropic", "both"):
            headers.append((b"x-api-key", key.encode()))
        if settings.api == "azure":
            headers.append((b"api-key", key.encode()))
    set_here = [(name.encode(), value.encode()) for name, value in further.items()]
    return [header for header in headers if header[0].decode() not in further] + set_here


def read_key(settings: UpstreamSettings, name: str) -> str | None:
    """An upstream's key, from wherever it stands.

    Raises:
        SettingsError: named, but not there.
    """
    where = f"upstreams.{name}"
    if settings.api_key_env is not None:
        key = os.environ.get(settings.api_key_env, "").strip()
        if not key:
            raise SettingsError(f"{where}.api_key_env: the variable {settings.api_key_env} is not set.")
        return _one_line(key, f"{where}.api_key_env")
    if settings.api_key_file is not None:
        try:
            key = settings.api_key_file.read_text(encoding="utf-8-sig").strip()
        except (OSError, UnicodeDecodeError):
            raise SettingsError(f"{where}.api_key_file: {settings.api_key_file} cannot be read.") from None
        return _one_line(key, f"{where}.api_key_file")
    if settings.api_key is not None:
        return _one_line(settings.api_key.get_secret_value(), f"{where}.api_key")
    return None


def set_headers(settings: UpstreamSettings, name: str) -> dict[str, str]:
    """The operator's further headers.

    Raises:
        SettingsError: a variable that is not set, or a value that no header can have.
    """
    where = f"upstreams.{name}.headers"
    values = {header: value.get_secret_value() for header, value in settings.headers.items()}
    for header, variable in settings.headers_env.items():
        values[header] = os.environ.get(variable, "").strip()
        if not values[header]:
            raise SettingsError(f"{where}_env.{header}: the variable {variable} is not set.")
    return {header: _one_line(value, f"{where}.{header}") for header, value in values.items()}


def _one_line(key: str, where: str) -> str:
    if not key or not key.isascii() or not key.isprintable():
        raise SettingsError(f"{where}: expected one line of printable ASCII.")
    return key


def is_harmless(value: bytes) -> bool:
    """Whether a client's header value can stand in a request; a strange one must not count as our failure."""
    return 0 < len(value) <= _MAX_HEADER_BYTES and value.isascii() and value.decode("ascii").isprintable()
