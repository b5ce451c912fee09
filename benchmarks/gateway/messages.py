"""What an OpenAI-compatible upstream says, as bytes: shared by the harness and the tests."""

import json

DONE = b"data: [DONE]\n\n"
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
)


def whole(body: bytes, status: int = 200, headers: str = "", kind: str = "application/json") -> bytes:
    """An answer with its length."""
    head = f"HTTP/1.1 {status} Whatever\r\ncontent-type: {kind}\r\n{headers}content-length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


def completion(text: str) -> bytes:
    """A chat completion's body."""
    message = {"role": "assistant", "content": text}
    return json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500},
        }
    ).encode()


def delta(text: str) -> bytes:
    """One event of a streamed completion."""
    value = {
        "id": "c",
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": {"content": text}}],
    }
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


END = b"0\r\n\r\n"
"""The end of a chunked body."""
