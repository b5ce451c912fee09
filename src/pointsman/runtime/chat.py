"""Which text of a list of messages a router reads: the last user message, with so many before it.

The number and order of earlier turns is part of the artifact, so that serving reads what training read.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pointsman.artifact.manifest import Chat

MARK = "\n\u00b6 "
"""Stands before every earlier message where the last is read first; a tokenizer drops a bare line break."""


def text_of_messages(messages: Sequence[Mapping[str, Any]], chat: Chat) -> str:
    """The text to classify; empty where no user message holds text.

    Args:
        messages: OpenAI-style messages, oldest first; content is a string or a list of parts, of which the
            text parts count.
        chat: how many earlier user messages are read too, and in which order.
    """
    spoken = [text for message in messages if message.get("role") == "user" and (text := _text_of(message))]
    return joined(spoken, chat)


def joined(turns: Sequence[str], chat: Chat) -> str:
    """The text that is classified for a user's turns, oldest first."""
    read = turns[-1 - chat.earlier_turns :]
    return MARK.join(reversed(read)) if chat.last_first else "\n".join(read)


def _text_of(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content.strip()
    if not isinstance(content, Sequence):
        return ""
    texts = [
        part["text"]
        for part in content
        if isinstance(part, Mapping)
        and part.get("type") in ("text", "input_text")
        and isinstance(part.get("text"), str)
    ]
    return "\n".join(texts).strip()
