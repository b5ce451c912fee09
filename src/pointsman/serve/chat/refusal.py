"""An upstream's own error: whose fault it is, how the client gets it, and what of it a log line may hold."""

import json
import re
from collections.abc import Iterator
from typing import Any

from pointsman.serve.chat.context import ChatContext
from pointsman.serve.failures import anthropic_error

_MOST_CHARS = 160
_WORD = re.compile(r"[^\s\"'`]+")
_SECRET = re.compile(r"\S{20,}|\b(?:sk|pk|key|token|bearer)[-_ ]\S+", re.IGNORECASE)
_READ_CHARS = 65_536
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def message_of(value: dict[str, Any] | None) -> str | None:
    """What an error says in the shapes of OpenAI, Anthropic, vLLM, Ollama or FastAPI; None for no error."""
    if value is None:
        return None
    error = value.get("error", value)
    if isinstance(error, str):
        return error
    if not isinstance(error, dict):
        return None
    said = error.get("message", error.get("detail"))
    if said is None:
        return "" if error is not value else None
    return said if isinstance(said, str) else json.dumps(said)


def shaped(context: ChatContext, value: dict[str, Any] | None, data: bytes, status: int) -> bytes:
    """An error's body as the chat's dialect shapes it: as it came where it has that shape."""
    is_anthropic, request_id = context.dialect.is_anthropic, context.exchange.request_id
    error = None if value is None else value.get("error")
    is_named = not is_anthropic or (value is not None and value.get("type") == "error")
    if is_named and isinstance(error, dict) and isinstance(error.get("message"), str):
        return data
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    message = message_of(value) or f"the upstream answered with status {status}"
    if is_anthropic:
        return json.dumps(anthropic_error(status, message, "upstream_refused", request_id)).encode()
    told = {"message": message, "type": kind, "code": "upstream_refused", "request_id": request_id}
    return json.dumps({"error": told}).encode()


def should_retry(status: int, headers: dict[str, str]) -> bool:
    """Whether the same request may succeed later: as the upstream says, or by its status."""
    said = headers.get("x-should-retry", "").lower()
    if said in ("true", "false"):
        return said == "true"
    return status in (408, 409, 429, 529) or (status >= 500 and "retry-after" in headers)


def loggable(context: ChatContext, said: str) -> str:
    """The start of an upstream's error without what may be a key, and without a word of the request."""
    line = " ".join(_SECRET.sub("…", said[: 2 * _MOST_CHARS]).split())[:_MOST_CHARS]
    asked = _words_of(context.payload)
    if asked is None:
        return "…"
    return _WORD.sub(lambda word: "…" if word[0].strip(".,:;()[]{}!?").lower() in asked else word[0], line)


def _words_of(payload: dict[str, Any]) -> set[str] | None:
    """Every word that stands in the texts of a request; None of a request that is too long for it."""
    words: set[str] = set()
    size = 0
    for text in _strings(payload):
        size += len(text)
        if size > _READ_CHARS:
            return None
        words |= {word.strip(".,:;()[]{}!?").lower() for word in _WORD.findall(text)}
    return words


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)
