"""An upstream's own error: what it says, and what of that a log line may hold."""

import json
import re
from collections.abc import Sequence
from typing import Any

from pointsman.serve.routing.folding import folded, squashed
from pointsman.serve.routing.request_text import RequestText

_MOST_CHARS = 160
_TELLING_CHARS = 5
"""A shorter part of a word stands in too many others."""
_WORD = re.compile(r"(?:[^\W_]|[\u0300-\u036f])+")
_UNREADABLE = re.compile(r"\S{20,}|\S*[\\%&]\S*|\b(?:sk|pk|key|token|bearer)[-_ ]\S+", re.IGNORECASE)
"""What may be a key, or text in a code: escaped, percent-encoded, in entities, base64."""


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


def loggable(payload: dict[str, Any], said: str, secrets: Sequence[str]) -> str:
    """The start of an upstream's error without what may be a key, and without a word of the request.

    Args:
        secrets: the upstream's own, which it may repeat.
    """
    start = said if len(said) < _MOST_CHARS else said[: 2 * _MOST_CHARS].rpartition(" ")[0]
    text = "\n".join([*secrets, *RequestText(payload, frozenset()).plain])
    asked, words = _plain(text), {_plain(word) for word in set(_WORD.findall(text))}
    start = _UNREADABLE.sub("…", start)
    line = _WORD.sub(lambda found: "…" if _is_echo(_plain(found[0]), asked, words) else found[0], start)
    return " ".join(line.split())[:_MOST_CHARS]


def _plain(text: str) -> str:
    """Letters and digits alone, in one spelling."""
    return squashed(folded(text))


def _is_echo(word: str, asked: str, words: set[str]) -> bool:
    """Whether a word of an error is one of the request, or has a part of it; where words are not parted, two
    characters are one.
    """
    size = _TELLING_CHARS if word.isascii() else min(2, len(word))
    return word in words or any(word[at : at + size] in asked for at in range(len(word) - size + 1))
