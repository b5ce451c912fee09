"""What an OpenAI-compatible upstream is asked and says, as bytes: shared by both scripted upstreams."""

import json
from typing import Any

DONE = b"data: [DONE]\n\n"
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
)


class RecordedRequest:
    """A request as it arrived at an upstream.

    Args:
        head: its lines, without the blank one that ends them.
    """

    def __init__(self, head: bytes) -> None:
        lines = head.decode("latin-1").split("\r\n")
        pairs = [line.split(":", 1) for line in lines[1:] if line]
        self.head = head
        self.request_line = lines[0]
        self.header_names = [name.lower() for name, _ in pairs]
        self.headers = {name.lower(): value.strip() for name, value in pairs}
        self.body = b""

    @property
    def path(self) -> str:
        """The path and query that were asked for."""
        return self.request_line.split(" ")[1]

    @property
    def length(self) -> int:
        """The bytes of the body, as announced."""
        return int(self.headers.get("content-length", "0"))

    @property
    def json(self) -> Any:
        """The body's value."""
        return json.loads(self.body)

    @property
    def text(self) -> str:
        """The last message's text."""
        return str(self.json["messages"][-1]["content"])


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
