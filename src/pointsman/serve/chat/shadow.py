"""Both models asked a sample of the chats once more: pairs of answers for `pointsman judge`.

They are asked the conversation as it may be written down, so nothing redacted reaches them, and nothing of a
chat that is bound to one of them.
"""

import asyncio
import time
from typing import Any

from starlette.types import Message

from pointsman.serve.budget import period_of
from pointsman.serve.capture.redaction import Messages
from pointsman.serve.chat.attempt import attempt
from pointsman.serve.chat.context import ChatContext
from pointsman.serve.chat.cost import price, tokens_of
from pointsman.serve.chat.dialects import CHAT
from pointsman.serve.edge.http import ClientGone, Exchange
from pointsman.serve.failures import GatewayError
from pointsman.serve.gateway import Gateway
from pointsman.serve.upstream.upstreams import CallFailedError

_AT_ONCE = 4
_LONGEST_S = 120.0


def may_ask_both(gateway: Gateway, row: str) -> bool:
    """Whether this chat is in the sample, and there is money, and room."""
    settings, used_up = gateway.settings.shadow, gateway.budget is not None and gateway.budget.is_used_up
    if int(row[8:16], 16) >= settings.answers * 2**32 or used_up or len(gateway.shadows) >= _AT_ONCE:
        return False
    history, workers = gateway.history, gateway.settings.server.workers
    today = history.since(period_of(time.time(), "day")[0], "shadow_cost")
    return today < settings.budget / (1 if history.path is not None else workers)


def ask_both(
    context: ChatContext, row: str, messages: list[Any], facts: dict[str, Any], keys: list[str]
) -> None:
    """Ask them and write the row with what they answered, after the client has its own answer."""
    task = asyncio.create_task(_pair(context, row, messages, facts, keys))
    context.gateway.shadows.add(task)
    task.add_done_callback(context.gateway.shadows.discard)


async def _pair(
    context: ChatContext, row: str, messages: list[Any], facts: dict[str, Any], keys: list[str]
) -> None:
    gateway = context.gateway
    assert gateway.capture is not None
    kept = await gateway.capture.readable(messages, keys)
    try:
        if kept is not None:
            asked = [_answer(context, name, kept) for name in ("local", "cloud")]
            local, cloud = await asyncio.gather(*asked)
            if local is not None and cloud is not None:
                facts = {**facts, "answers": {"local": local, "cloud": cloud}}
    finally:
        # The end of the gateway costs the pair, and not the row.
        gateway.capture.chat(row, messages if kept is None else kept, facts, keys)


async def _answer(context: ChatContext, name: str, messages: Messages) -> dict[str, Any] | None:
    """What a model answers, with its tokens, seconds and cost; None where it does not."""
    gateway, began = context.gateway, time.monotonic()
    exchange = Exchange(
        {"type": "http", "method": "POST", "headers": []}, _nothing, _nowhere, "shadow", client="shadow"
    )
    payload: dict[str, Any] = {"messages": messages}
    deadline = began + min(_LONGEST_S, gateway.settings.limits.deadline_s)
    own = ChatContext(gateway, exchange, CHAT, payload, context.plan, deadline)
    upstream = own.upstream(name)
    if upstream is None:
        return None
    try:
        started = await attempt(own, upstream)
        started.answer.response.close()
        started.call.end()
        choice = (started.value or {})["choices"][0]
        text, finish = choice["message"]["content"], choice.get("finish_reason")
    except (CallFailedError, GatewayError, KeyError, IndexError, TypeError):
        return None
    tokens = tokens_of((started.value or {}).get("usage"))
    cost = price(upstream.settings, tokens)
    gateway.history.count(spent=cost, shadow_cost=cost)
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
    }


async def _nothing() -> Message:
    raise ClientGone


async def _nowhere(message: Message) -> None:
    """No client waits for this answer."""
