"""Both models asked a sample of the chats once more: pairs of answers for `pointsman judge`.

They are asked the conversation as it may be written down, so nothing redacted reaches them, and nothing of a
chat that is bound to one of them.
"""

import asyncio
import time
from typing import Any

from starlette.types import Message, Scope

from pointsman.serve.budget import period_of
from pointsman.serve.capture.redaction import Messages
from pointsman.serve.chat.attempt import attempt
from pointsman.serve.chat.cost import SHADOW, count_spent, tokens_of_answer
from pointsman.serve.chat.dialects import CHAT
from pointsman.serve.chat.request import ChatRequest
from pointsman.serve.edge.http import ClientGone, Exchange
from pointsman.serve.failures import GatewayError
from pointsman.serve.gateway import Gateway
from pointsman.serve.upstream.upstreams import CallFailedError

_AT_ONCE = 4
_LONGEST_S = 120.0


def _may_ask_both(gateway: Gateway, row: str) -> bool:
    """Whether this chat is in the sample, and there is money, and room."""
    settings, used_up = gateway.settings.shadow, gateway.budget is not None and gateway.budget.is_used_up
    if int(row[8:16], 16) >= settings.answers * 2**32 or used_up or len(gateway.shadows) >= _AT_ONCE:
        return False
    today, workers = period_of(time.time(), "day")[0], gateway.settings.server.workers
    return gateway.history.left(settings.budget, today, "shadow_cost", workers) > 0.0


def ask_both(gateway: Gateway, row: str, messages: list[Any], facts: dict[str, Any], keys: list[str]) -> bool:
    """Ask them and write the row with what they answered; False where it is for the caller to write."""
    if not _may_ask_both(gateway, row):
        return False
    task = asyncio.create_task(_pair(gateway, row, messages, facts, keys))
    gateway.shadows.add(task)
    task.add_done_callback(gateway.shadows.discard)
    return True


async def _pair(
    gateway: Gateway, row: str, messages: list[Any], facts: dict[str, Any], keys: list[str]
) -> None:
    assert gateway.capture is not None
    kept = await gateway.capture.readable(messages, keys)
    try:
        if kept is not None:
            asked = [_answer(gateway, name, kept) for name in ("local", "cloud")]
            local, cloud = await asyncio.gather(*asked)
            if local is not None and cloud is not None:
                facts = {**facts, "answers": {"local": local, "cloud": cloud}}
    finally:
        # The end of the gateway costs the pair, and not the row.
        gateway.capture.chat(row, messages if kept is None else kept, facts, keys)


async def _answer(gateway: Gateway, name: str, messages: Messages) -> dict[str, Any] | None:
    """What a model answers, with its tokens, seconds and cost; None where it does not."""
    began = time.monotonic()
    scope: Scope = {"type": "http", "method": "POST", "headers": []}
    exchange = Exchange(scope, _nothing, _nowhere, "shadow", client="shadow", route=SHADOW)
    deadline = began + min(_LONGEST_S, gateway.settings.limits.deadline_s)
    request = ChatRequest(gateway, exchange, CHAT, {"messages": messages}, deadline)
    upstream = request.upstream(name)
    if upstream is None:
        return None
    try:
        started = await attempt(request, upstream)
        started.close()
        reported, tokens = tokens_of_answer(request, started)
        cost = count_spent(request, upstream, tokens, is_estimated=tokens != reported)
        value = started.value or {}
        choice = value["choices"][0]
        text, finish = choice["message"]["content"], choice.get("finish_reason")
    except (CallFailedError, GatewayError, KeyError, IndexError, TypeError):
        return None
    if not isinstance(text, str):
        return None
    return {
        "text": text,
        "finish": str(finish),
        "model": upstream.settings.model,
        "tokens_in": tokens.asked,
        "tokens_out": tokens.answered,
        "seconds": round(time.monotonic() - began, 3),
        "cost": cost,
        "estimated": tokens != reported,
    }


async def _nothing() -> Message:
    raise ClientGone


async def _nowhere(message: Message) -> None:
    """No client waits for this answer."""
