"""What Anthropic's clients send and its API answers, as values and bytes: for the scripted upstreams.

Requests have the shapes that Claude Code sends: a system prompt in blocks, cache marks, reminders, tools and
their results. Written after Anthropic's public reference.
"""

import json
from typing import Any

from tests.support.front_ends import REMINDER

MARK = {"cache_control": {"type": "ephemeral"}}
BETAS = "claude-code-20250219,interleaved-thinking-2025-05-14,fine-grained-tool-streaming-2025-05-14"
USAGE = {
    "input_tokens": 200,
    "cache_creation_input_tokens": 300,
    "cache_read_input_tokens": 500,
    "output_tokens": 1,
}


def message(text: str, model: str = "big") -> dict[str, Any]:
    """A whole answer: 1,000 tokens in, 500 out."""
    return {
        "id": "msg_01",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {**USAGE, "output_tokens": 500},
    }


def event(value: dict[str, Any]) -> bytes:
    """One event, named after its type."""
    return f"event: {value['type']}\ndata: {json.dumps(value)}\n\n".encode()


def events(*words: str) -> list[bytes]:
    """A whole stream: 1,000 tokens in, 500 out."""
    start = {**message("")} | {"content": [], "stop_reason": None, "usage": USAGE}
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    deltas = [{"type": "text_delta", "text": word} for word in words]
    ended = {"stop_reason": "end_turn", "stop_sequence": None}
    values: list[dict[str, Any]] = [
        {"type": "message_start", "message": start},
        block,
        {"type": "ping"},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": ended, "usage": {"output_tokens": 500}},
        {"type": "message_stop"},
    ]
    return [event(value) for value in values]


def error(kind: str, text: str = "no") -> bytes:
    """An error's body."""
    return json.dumps(
        {"type": "error", "error": {"type": kind, "message": text}, "request_id": "req_1"}
    ).encode()


def claude_code(question: str, *, results: int = 0, marked: bool = True) -> dict[str, Any]:
    """A request as Claude Code sends it.

    Args:
        results: so many tool calls with their results follow the question.
        marked: whether the question carries the mark of the cache; it moves on from turn to turn.
    """
    asked = {"type": "text", "text": question, **(MARK if marked else {})}
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "text", "text": REMINDER}, asked]}
    ]
    for index in range(results):
        call = {"type": "tool_use", "id": f"toolu_{index}", "name": "Read", "input": {"file_path": "/a.py"}}
        result = {"type": "tool_result", "tool_use_id": f"toolu_{index}", "content": "analyze every design"}
        reminder = {"type": "text", "text": REMINDER, **MARK}
        messages.append({"role": "assistant", "content": [{"type": "text", "text": "I read it."}, call]})
        messages.append({"role": "user", "content": [result, reminder]})
    return {
        "model": "claude-sonnet-4-5-20250929",
        "max_tokens": 32000,
        "temperature": 1,
        "stream": False,
        "system": [
            {"type": "text", "text": "You are Claude Code, Anthropic's official CLI for Claude.", **MARK},
            {"type": "text", "text": "Analyze what is asked and design comprehensive plans.", **MARK},
        ],
        "metadata": {"user_id": "user_1_account__session_2"},
        "tools": [
            {
                "name": "Read",
                "description": "Reads a file.",
                "input_schema": {
                    "type": "object",
                    "properties": {"file_path": {"type": "string"}},
                    "required": ["file_path"],
                },
            }
        ],
        "messages": messages,
    }
