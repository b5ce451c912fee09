"""The chat routes: a place for the chat, a plan, an upstream that answers, its answer passed on.

Nothing is sent before an upstream's answer has begun; from then on only that answer is.
"""

import asyncio
import time
from dataclasses import replace
from typing import Any

from pointsman.serve.chat import dialects
from pointsman.serve.chat.context import ChatContext
from pointsman.serve.chat.dialects import Dialect
from pointsman.serve.chat.fallback import begin, no_upstream
from pointsman.serve.chat.plan import FOLLOW_UP, Plan, check_parameters, parse_model, plan_chat, policy_hint
from pointsman.serve.chat.relay import relay
from pointsman.serve.chat.response_ids import maker_of
from pointsman.serve.edge.disconnect import while_connected
from pointsman.serve.edge.http import Exchange
from pointsman.serve.failures import GatewayError
from pointsman.serve.gateway import Gateway


async def completions(gateway: Gateway, exchange: Exchange) -> None:
    """`/v1/chat/completions`, and the path of an Azure deployment, whose name is the model."""
    await _serve(gateway, exchange, dialects.CHAT)


async def text_completions(gateway: Gateway, exchange: Exchange) -> None:
    """`/v1/completions`."""
    await _serve(gateway, exchange, dialects.COMPLETION)


async def responses(gateway: Gateway, exchange: Exchange) -> None:
    """`/v1/responses`."""
    await _serve(gateway, exchange, dialects.RESPONSE)


async def messages(gateway: Gateway, exchange: Exchange) -> None:
    """`/v1/messages`, as Claude Code and Anthropic's SDKs ask; an unknown model means `auto`."""
    await _serve(gateway, exchange, dialects.MESSAGE)


async def count_tokens(gateway: Gateway, exchange: Exchange) -> None:
    """`/v1/messages/count_tokens`: counted by the upstream that would answer."""
    await _serve(gateway, exchange, dialects.COUNT)


async def stored_response(gateway: Gateway, exchange: Exchange) -> None:
    """`/v1/responses/{response}`, its `input_items` and `cancel`: asked of the upstream that made it."""
    check_parameters({}, exchange.query())
    if exchange.method == "POST":
        await exchange.json_body(
            gateway.settings.limits.text_body_bytes, gateway.settings.limits.body_timeout_s
        )
    maker, its_id = maker_of(exchange.params["response"], gateway.upstreams.names())
    path = f"/responses/{its_id}{exchange.route.partition('{response}')[2]}"
    query = exchange.scope.get("query_string", b"").decode("latin-1")
    plan = Plan(maker, FOLLOW_UP, True, None, 0.0)
    dialect = replace(dialects.RESPONSE, path=f"{path}?{query}" if query else path)
    context = ChatContext(gateway, exchange, dialect, {}, plan, _deadline(gateway, exchange))
    context.method = "GET" if exchange.method == "HEAD" else exchange.method
    await while_connected(exchange, _unless_cut(context))


async def embeddings(gateway: Gateway, exchange: Exchange) -> None:
    """`/v1/embeddings`: passed to the upstream that `routing.embeddings` names, with the client's model."""
    limits, target = gateway.settings.limits, gateway.settings.routing.embeddings
    exchange.is_work = True
    payload = await gateway.read_object(await exchange.json_body(limits.body_bytes, limits.body_timeout_s))
    check_parameters(payload, exchange.query())
    if target is None or gateway.upstreams.get(target) is None:
        raise GatewayError("no_upstream", "no upstream is set for embeddings; set routing.embeddings")
    rule, hint = await gateway.matching_rule(exchange, payload), policy_hint(exchange)
    wanted = {hint.partition("-")[0]} if hint != "auto" else set()
    if rule is not None and rule.send.endswith("-only"):
        wanted.add(rule.send.partition("-")[0])
    if wanted - {target}:
        # Vectors of another model would be no answer: they cannot be compared.
        raise GatewayError(
            "forbidden", f"this text must not go to the {target} upstream, which routing.embeddings names"
        )
    plan = Plan(target, "embeddings", True, None, 0.0)
    context = ChatContext(gateway, exchange, dialects.EMBEDDINGS, payload, plan, _deadline(gateway, exchange))
    await while_connected(exchange, _unless_cut(context))


async def models(gateway: Gateway, exchange: Exchange) -> None:
    """`/v1/models`: what a request's model may say."""
    names = dict.fromkeys(["auto", *gateway.upstreams.names(), *gateway.settings.routing.aliases])
    data = [_described(gateway, name) for name in names]
    await exchange.respond_json({"object": "list", "data": data})


async def model(gateway: Gateway, exchange: Exchange) -> None:
    """`/v1/models/{model}`: whether a request's model may say this."""
    name = exchange.params["model"]
    try:
        parse_model(name, gateway)
    except GatewayError as error:
        raise GatewayError("not_found", error.message) from None
    await exchange.respond_json(_described(gateway, name))


def _described(gateway: Gateway, name: str) -> dict[str, Any]:
    created = int(gateway.engine.current.loaded_at)
    return {"id": name, "object": "model", "created": created, "owned_by": "pointsman"}


async def _serve(gateway: Gateway, exchange: Exchange, dialect: Dialect) -> None:
    limits = gateway.settings.limits
    exchange.is_work = True
    if gateway.chats >= limits.chats:
        raise GatewayError("overloaded", "too many chats are in flight; try again")
    gateway.chats += 1
    try:
        payload = await gateway.read_object(
            await exchange.json_body(limits.body_bytes, limits.body_timeout_s)
        )
        if "deployment" in exchange.params:
            payload["model"] = exchange.params["deployment"]
        if not gateway.upstreams:
            raise no_upstream()
        await while_connected(exchange, _chat(gateway, exchange, dialect, payload))
    finally:
        gateway.chats -= 1


async def _chat(gateway: Gateway, exchange: Exchange, dialect: Dialect, payload: dict[str, Any]) -> None:
    deadline = _deadline(gateway, exchange)
    with gateway.tracing.decision() as span:
        plan = await plan_chat(gateway, exchange, dialect, payload, deadline)
        span.say(**plan.trace_facts())
    gateway.count_decision("chat", plan.target, plan.reason, plan.answer)
    exchange.facts |= {"target": plan.target, "reason": plan.reason}
    await _unless_cut(ChatContext(gateway, exchange, dialect, payload, plan, deadline))


async def _unless_cut(context: ChatContext) -> None:
    """Answer a chat; while that lasts, the gateway's end can cut it."""
    task = asyncio.current_task()
    assert task is not None

    def cut() -> None:
        context.is_cut = True
        task.cancel()

    context.gateway.streams.add(cut)
    try:
        await relay(context, await begin(context))
    except asyncio.CancelledError:
        if not context.is_cut:
            raise
        task.uncancel()
        raise GatewayError("draining", "the gateway is shutting down; try again") from None
    finally:
        context.gateway.streams.discard(cut)


def _deadline(gateway: Gateway, exchange: Exchange) -> float:
    """`time.monotonic()` at which the whole chat ends: before the operator's where the client says so."""
    most = gateway.settings.limits.deadline_s
    asked = exchange.header(b"x-pointsman-deadline-ms")
    if asked is None:
        return time.monotonic() + most
    if not asked.isdecimal() or len(asked) > 9 or int(asked) == 0:
        raise GatewayError("invalid_request", "x-pointsman-deadline-ms: expected whole milliseconds")
    return time.monotonic() + min(most, int(asked) / 1000)
