"""Two echo upstreams, so that the whole path can be tried without any model or network.

Each says which one it is and repeats the end of the last message, streamed word by word where asked.
"""

import asyncio
import json
import time
from typing import Any

from starlette.types import Receive, Scope, Send

from pointsman.serve.settings import GatewaySettings, UpstreamSettings, UpstreamsSettings

_WORD_S = 0.03
_ECHO_CHARS = 400
_PRICES = {"local": (0.0, 0.0), "cloud": (2.5, 10.0)}


class EchoUpstream:
    """An ASGI application that speaks enough OpenAI to be a demo."""

    def __init__(self, name: str) -> None:
        self._name = name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        request = json.loads(body or b"{}")
        words = self._reply(request).split(" ")
        usage = {"prompt_tokens": len(body) // 4, "completion_tokens": len(words)}
        usage["total_tokens"] = usage["prompt_tokens"] + usage["completion_tokens"]
        if request.get("stream"):
            await self._stream(send, words, usage)
        else:
            await self._whole(send, " ".join(words), usage)

    def _reply(self, request: dict[str, Any]) -> str:
        messages = request.get("messages")
        if not isinstance(messages, list) or not messages:
            messages = [{"content": request.get("prompt") or request.get("input") or ""}]
        content = messages[-1].get("content") if isinstance(messages[-1], dict) else ""
        said = content if isinstance(content, str) else "something with parts"
        return f"This is the {self._name} demo model. You said: {said[-_ECHO_CHARS:]}"

    async def _whole(self, send: Send, text: str, usage: dict[str, int]) -> None:
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "text": text,
            "finish_reason": "stop",
        }
        body = json.dumps({**self._head("chat.completion"), "choices": [choice], "usage": usage}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _stream(self, send: Send, words: list[str], usage: dict[str, int]) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        head = self._head("chat.completion.chunk")
        for index, word in enumerate(words):
            delta = {"content": word if index == 0 else f" {word}"}
            choice = {"index": 0, "delta": delta, "finish_reason": None}
            await self._event(send, {**head, "choices": [choice]})
            await asyncio.sleep(_WORD_S)
        last = {"index": 0, "delta": {}, "finish_reason": "stop"}
        await self._event(send, {**head, "choices": [last], "usage": usage})
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})

    async def _event(self, send: Send, value: dict[str, Any]) -> None:
        data = b"data: " + json.dumps(value).encode() + b"\n\n"
        await send({"type": "http.response.body", "body": data, "more_body": True})

    def _head(self, kind: str) -> dict[str, Any]:
        now = time.time()
        return {"id": f"demo-{now:.6f}", "object": kind, "created": int(now), "model": f"demo-{self._name}"}


def with_demo_upstreams(settings: GatewaySettings, ports: dict[str, int]) -> GatewaySettings:
    """The settings with upstreams on these loopback ports, where none is configured."""
    made = {}
    for name, port in ports.items():
        price_in, price_out = _PRICES[name]
        made[name] = getattr(settings.upstreams, name) or UpstreamSettings(
            url=f"http://127.0.0.1:{port}/v1", model=f"demo-{name}", price_in=price_in, price_out=price_out
        )
    return settings.model_copy(update={"upstreams": UpstreamsSettings(**made)})
