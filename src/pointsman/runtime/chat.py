"""Which text of a list of messages a router reads: the last user message, and a number of earlier ones.

What a front-end wraps around a message is not read. The number and order of earlier turns is part of the
artifact, so that serving reads what training read.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pointsman.artifact.manifest import Chat
from pointsman.errors import InputError
from pointsman.runtime.wrappers import text_of, texts_of, unwrapped

OPTIONS: Mapping[str, Any] = {
    "tools": list,
    "tool_choice": str | dict,
    "parallel_tool_calls": bool,
    "functions": list,
    "function_call": str | dict,
    "response_format": dict,
}
"""What of a request, beside its messages, says what kind of answer is wanted; each with its type."""

MARK = "\n\u00b6 "
"""Stands before every earlier message where the last is read first; a tokenizer drops a bare line break."""


def text_of_messages(messages: Sequence[Mapping[str, Any]], chat: Chat) -> str:
    """The text to classify; empty where no user message holds text.

    A message of nothing but wrapping is passed over; where all are, they are read as they are.

    Args:
        messages: OpenAI-style messages, oldest first; content is a string or a list of parts, of which the
            text parts count.
        chat: how many earlier user messages are read too, and in which order.

    Raises:
        InputError: no list of tables.
    """
    if isinstance(messages, str | bytes | Mapping) or not isinstance(messages, Iterable):
        raise InputError(f"messages: expected a list, found {type(messages).__name__}.")
    messages = list(messages)
    for index, message in enumerate(messages):
        if not isinstance(message, Mapping):
            raise InputError(
                f"message {index}: expected a table such as {{'role': 'user', 'content': 'text'}}, "
                f"found {type(message).__name__}."
            )
    spoken = [message for message in messages if message.get("role") == "user" and text_of(message)]
    asked: list[str] = []
    for message in reversed(spoken):
        if text := "\n".join(filter(None, map(unwrapped, texts_of(message)))):
            asked.insert(0, text)
        if len(asked) > chat.earlier_turns:
            break
    return joined(asked or [text_of(message) for message in spoken], chat)


def options_of(request: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `OPTIONS` that a request has; what belongs to tools only where there are any."""
    found = {n: request[n] for n, kind in OPTIONS.items() if n in request and isinstance(request[n], kind)}
    offered = [name for name in ("tools", "functions") if found.get(name)]
    tools = [tool for name in offered for tool in found[name]]
    if not tools or not all(isinstance(tool, Mapping) and tool.keys() & {"type", "name"} for tool in tools):
        return {name: value for name, value in found.items() if name == "response_format"}
    return found


def joined(turns: Sequence[str], chat: Chat) -> str:
    """The text that is classified for a user's turns, oldest first."""
    read = turns[-1 - chat.earlier_turns :]
    return MARK.join(reversed(read)) if chat.last_first else "\n".join(read)
