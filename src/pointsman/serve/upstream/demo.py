"""Two echo upstreams, so that the whole path can be tried without any model or network.

Each says which one it is and repeats the end of the last message, streamed word by word where asked; what is
no conversation is refused, as by the real services.
"""

import asyncio
import json
import time
from typing import Any

from starlette.types import Receive, Scope, Send

from pointsman.serve.settings import GatewaySettings
from pointsman.serve.upstream import sse
from pointsman.serve.upstream_settings import UpstreamSettings

_WORD_S = 0.03
_ECHO_CHARS = 400
_FIELDS = {"/chat/completions": "messages", "/completions": "prompt", "/responses": "input"}
"""Where a request holds the conversation, by its path; messages of Anthropic's as those of chats."""
_PRICES = {"local": (0.0, 0.0), "cloud": (2.5, 10.0)}


class EchoUpstream:
    """An ASGI application that speaks enough of OpenAI's protocol, and of Anthropic's, to be a demo."""

    def __init__(self, name: str) -> None:
        self._name = name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        body = bytearray()
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        request = json.loads(body or b"{}")
        path = scope["path"].removeprefix("/v1")
        field = _FIELDS.get(path, "messages")
        said = _last_said(field, request.get(field))
        if said is None:
            await self._refuse(send, field)
            return
        words = f"This is the {self._name} demo model. You said: {said[-_ECHO_CHARS:]}".split(" ")
        usage = {"prompt_tokens": len(body) // 4, "completion_tokens": len(words)}
        usage["total_tokens"] = usage["prompt_tokens"] + usage["completion_tokens"]
        if path == "/messages/count_tokens":
            await _respond(send, 200, {"input_tokens": usage["prompt_tokens"]})
        elif path == "/messages":
            await self._message(send, words, usage, is_stream=bool(request.get("stream")))
        elif path == "/responses":
            await self._response(send, words, usage, is_stream=bool(request.get("stream")))
        elif request.get("stream"):
            await self._stream(send, words, usage)
        else:
            await self._whole(send, " ".join(words), usage)

    async def _whole(self, send: Send, text: str, usage: dict[str, int]) -> None:
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "text": text,
            "finish_reason": "stop",
        }
        await _respond(send, 200, {**self._head("chat.completion"), "choices": [choice], "usage": usage})

    async def _refuse(self, send: Send, field: str) -> None:
        error = {"message": f"{field}: expected a conversation", "type": "invalid_request_error"}
        await _respond(send, 400, {"error": {**error, "param": field, "code": None}})

    async def _stream(self, send: Send, words: list[str], usage: dict[str, int]) -> None:
        await _start_stream(send)
        head = self._head("chat.completion.chunk")
        for index, word in enumerate(words):
            delta = {"content": word if index == 0 else f" {word}"}
            choice = {"index": 0, "delta": delta, "finish_reason": None}
            await self._event(send, {**head, "choices": [choice]})
            await asyncio.sleep(_WORD_S)
        last = {"index": 0, "delta": {}, "finish_reason": "stop"}
        await self._event(send, {**head, "choices": [last], "usage": usage})
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})

    async def _message(self, send: Send, words: list[str], usage: dict[str, int], *, is_stream: bool) -> None:
        counted = {"input_tokens": usage["prompt_tokens"], "output_tokens": usage["completion_tokens"]}
        head = {**self._head("message"), "type": "message", "role": "assistant", "usage": counted}
        text = {"type": "text", "text": "" if is_stream else " ".join(words)}
        ended = {"stop_reason": "end_turn", "stop_sequence": None}
        if not is_stream:
            await _respond(send, 200, {**head, "content": [text], **ended})
            return
        await _start_stream(send)
        start = {**head, "content": [], **dict.fromkeys(ended)}
        await self._event(send, {"type": "message_start", "message": start})
        await self._event(send, {"type": "content_block_start", "index": 0, "content_block": text})
        for index, word in enumerate(words):
            delta = {"type": "text_delta", "text": word if index == 0 else f" {word}"}
            await self._event(send, {"type": "content_block_delta", "index": 0, "delta": delta})
            await asyncio.sleep(_WORD_S)
        await self._event(send, {"type": "content_block_stop", "index": 0})
        await self._event(send, {"type": "message_delta", "delta": ended, "usage": counted})
        await self._event(send, {"type": "message_stop"})
        await send({"type": "http.response.body", "body": b""})

    async def _response(
        self, send: Send, words: list[str], usage: dict[str, int], *, is_stream: bool
    ) -> None:
        head = self._head("response")
        head |= {"id": f"resp_{head['id']}", "created_at": head["created"], "error": None, "tools": []}
        head |= {"parallel_tool_calls": False, "tool_choice": "auto", "status": "completed"}
        names = ("input_tokens", "output_tokens", "total_tokens")
        part = {"type": "output_text", "text": " ".join(words), "annotations": []}
        item = {"type": "message", "id": "msg_demo", "role": "assistant", "status": "completed"}
        done = {**item, "content": [part]}
        whole = {**head, "output": [done], "usage": dict(zip(names, usage.values(), strict=True))}
        if not is_stream:
            await _respond(send, 200, whole)
            return
        await _start_stream(send)
        at = {"output_index": 0, "item_id": item["id"], "content_index": 0}
        events: list[tuple[str, dict[str, Any]]] = [
            ("created", {"response": {**head, "status": "in_progress", "output": []}}),
            ("output_item.added", {**at, "item": {**item, "status": "in_progress", "content": []}}),
            ("content_part.added", {**at, "part": {**part, "text": ""}}),
            *(
                ("output_text.delta", {**at, "delta": f"{' ' * bool(i)}{word}"})
                for i, word in enumerate(words)
            ),
            ("output_text.done", {**at, "text": part["text"]}),
            ("content_part.done", {**at, "part": part}),
            ("output_item.done", {**at, "item": done}),
            ("completed", {"response": whole}),
        ]
        for number, (kind, value) in enumerate(events):
            await self._event(send, {"type": f"response.{kind}", "sequence_number": number, **value})
            await asyncio.sleep(_WORD_S if kind.endswith("delta") else 0)
        await send({"type": "http.response.body", "body": b""})

    async def _event(self, send: Send, value: dict[str, Any]) -> None:
        data = sse.event(value, value.get("type", ""))
        await send({"type": "http.response.body", "body": data, "more_body": True})

    def _head(self, kind: str) -> dict[str, Any]:
        now = time.time()
        return {"id": f"demo-{now:.6f}", "object": kind, "created": int(now), "model": f"demo-{self._name}"}


def _last_said(field: str, value: Any) -> str | None:
    """The end of a conversation, or None where it is none."""
    if isinstance(value, str) and field != "messages":
        return value
    if not isinstance(value, list) or not value:
        return None
    if field == "prompt":
        is_prompt = all(isinstance(item, str) or _is_tokens(item) for item in value)
        return str(value[-1]) if is_prompt else None
    if not all(isinstance(item, dict) for item in value):
        return None
    if field == "messages" and not all(isinstance(item.get("role"), str) for item in value):
        return None
    content = value[-1].get("content")
    return content if isinstance(content, str) else "something with parts"


def _is_tokens(value: Any) -> bool:
    """Whether it is a token, or a list of them; true and false are none."""
    return type(value) is int or (isinstance(value, list) and all(type(token) is int for token in value))


async def _start_stream(send: Send) -> None:
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def _respond(send: Send, status: int, value: dict[str, Any]) -> None:
    body = json.dumps(value).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def with_demo_upstreams(settings: GatewaySettings, ports: dict[str, int]) -> GatewaySettings:
    """The settings with upstreams on these loopback ports, where none is configured."""
    made: dict[str, UpstreamSettings] = {}
    for name, port in ports.items():
        price_in, price_out = _PRICES[name]
        made[name] = getattr(settings.upstreams, name) or UpstreamSettings(
            url=f"http://127.0.0.1:{port}/v1",
            model=f"demo-{name}",
            api="both",
            price_in=price_in,
            price_out=price_out,
        )
    return settings.model_copy(update={"upstreams": settings.upstreams.model_copy(update=made)})
