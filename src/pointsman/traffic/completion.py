"""An endpoint's reply to an answer. Not every server keeps to the protocol, so nothing of it is believed."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import openai

from pointsman.runtime.wrappers import text_of
from pointsman.traffic.endpoint import Call, tokens_of
from pointsman.traffic.work import Answer


def read_answer(call: Call, body: bytes, seconds: float) -> Answer:
    """The answer in a chat completion; token counts that are missing or no counts are estimated.

    Raises:
        openai.OpenAIError: there is no message in it.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise openai.OpenAIError("expected a chat completion, found no JSON") from None
    choice = _first(_member(value, "choices"))
    message = _member(choice, "message")
    if not isinstance(message, dict):
        raise openai.OpenAIError(f"expected a chat completion with a message, found {str(value)[:100]}")
    refusal = message.get("refusal")
    said = text_of(message) or (refusal if isinstance(refusal, str) else "")
    text = with_calls(said, message)
    finish = "refusal" if refusal else str(_member(choice, "finish_reason"))
    usage = _member(value, "usage")
    tokens_in = _count(_member(usage, "prompt_tokens"), call.tokens_in)
    tokens_out = _count(_member(usage, "completion_tokens"), tokens_of(text))
    cost = call.endpoint.cost(tokens_in, tokens_out)
    # Half a surrogate pair is valid JSON, and no text.
    text = text.encode("utf-8", "replace").decode()
    return Answer(text, finish, tokens_in, tokens_out, seconds, cost, call.endpoint.model, call.endpoint.url)


def with_calls(said: str, message: Mapping[str, Any]) -> str:
    """The text of a message, and its calls of tools as lines that a judge can read."""
    return "\n".join(filter(None, [said, *_calls(message)]))


def _calls(message: Mapping[str, Any]) -> Iterator[str]:
    found = message.get("tool_calls")
    calls = [_member(call, "function") for call in found] if isinstance(found, list) else []
    for call in [*calls, message.get("function_call")]:
        if isinstance(name := _member(call, "name"), str):
            yield f"[call of {name}({_member(call, 'arguments') or ''})]"


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else None


def _count(value: Any, otherwise: float) -> float:
    is_count = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
    return float(value) if is_count else otherwise
