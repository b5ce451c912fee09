"""The chat routes: a place for the chat, a plan, an upstream that answers, its answer passed on.

Nothing is sent before an upstream's answer has begun; from then on only that answer is.
"""

import asyncio
import time
from dataclasses import replace
from functools import partial
from typing import Any

from pointsman.serve.chat import dialects
from pointsman.serve.chat.context import ChatContext
from pointsman.serve.chat.dialects import Dialect
from pointsman.serve.chat.fallback import begin, no_upstream
from pointsman.serve.chat.plan import (
    FOLLOW_UP,
    Plan,
    check_parameters,
    parse_model,
    plan_chat,
    policy_hint,
    stays_local,
)
from pointsman.serve.chat.record import capture_chat
from pointsman.serve.chat.relay import keep_alive, last_word, relay
from pointsman.serve.chat.response_ids import maker_of, plain_id
from pointsman.serve.edge.disconnect import while_connected
from pointsman.serve.edge.http import Exchange
from pointsman.serve.edge.keep_alive import KeepAlive
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
    if exchange.method == "POST":
        await exchange.json_body(
            gateway.settings.limits.text_body_bytes, gateway.settings.limits.body_timeout_s
        )
    maker, its_id = maker_of(exchange.params["response"], gateway.upstreams.names())
    path = f"/responses/{its_id}{exchange.route.partition('{response}')[2]}"
    if await _bound_to(gateway, exchange, {}) - {maker}:
        raise GatewayError("forbidden", f"this must not go to the {maker} upstream, which keeps the response")
    plan = Plan(maker, FOLLOW_UP, True, None, 0.0)
    await _ask_bound(gateway, exchange, replace(dialects.RESPONSE, path=path), {}, plan)


async def conversation(gateway: Gateway, exchange: Exchange) -> None:
    """`/v1/conversations`, one of them and its `items`: made by the cloud, if it may; kept by its maker."""
    limits, names = gateway.settings.limits, gateway.upstreams.names()
    payload: dict[str, Any] = {}
    if exchange.method == "POST":
        body = await exchange.json_body(limits.body_bytes, limits.body_timeout_s)
        payload = await gateway.read_object(body or b"{}")
    if not names:
        raise no_upstream()
    wanted, given = await _bound_to(gateway, exchange, payload), exchange.params.get("conversation")
    maker, path = next(iter(wanted), "cloud" if "cloud" in names else names[0]), "/conversations"
    if given is not None:
        maker, its_id = maker_of(given, names)
        item = plain_id(exchange.params.get("item", "none"))
        path = exchange.route.removeprefix("/v1").format(conversation=its_id, item=item)
    if wanted - {maker}:
        raise GatewayError("forbidden", f"this must not go to the {maker} upstream, which keeps these turns")
    plan = Plan(maker, FOLLOW_UP, True, None, 0.0)
    await _ask_bound(gateway, exchange, replace(dialects.CONVERSATION, path=path), payload, plan)


async def embeddings(gateway: Gateway, exchange: Exchange) -> None:
    """`/v1/embeddings`: passed to the upstream that `routing.embeddings` names, with the client's model."""
    limits, target = gateway.settings.limits, gateway.settings.routing.embeddings
    payload = await gateway.read_object(await exchange.json_body(limits.body_bytes, limits.body_timeout_s))
    if "deployment" in exchange.params:
        payload["model"] = exchange.params["deployment"]
    if target is None or gateway.upstreams.get(target) is None:
        raise GatewayError("no_upstream", "no upstream is set for embeddings; set routing.embeddings")
    if await _bound_to(gateway, exchange, payload) - {target}:
        # Vectors of another model would be no answer: they cannot be compared.
        raise GatewayError(
            "forbidden", f"this text must not go to the {target} upstream, which routing.embeddings names"
        )
    plan = Plan(target, "embeddings", True, None, 0.0)
    await _ask_bound(gateway, exchange, dialects.EMBEDDINGS, payload, plan)


async def _bound_to(gateway: Gateway, exchange: Exchange, payload: dict[str, Any]) -> set[str]:
    """The targets that header, rule or conversation bind a request to; with two it can go nowhere."""
    # The query, what the path names, and the model of embeddings go to the upstream, too.
    further = [payload.get("data"), payload.get("model"), exchange.query(), exchange.params]
    read = {**payload, "data": further}
    rule, hint = await gateway.matching_rule(exchange, read), policy_hint(exchange)
    sends = [hint, *([rule.send] if rule is not None else [])]
    said = {"input": payload.get("items", payload.get("input"))}
    if await gateway.read(exchange.held_bytes, stays_local, gateway, exchange, said):
        sends.append("local-only")
    return {send.partition("-")[0] for send in sends if send.endswith("-only")}


async def _ask_bound(
    gateway: Gateway, exchange: Exchange, dialect: Dialect, payload: dict[str, Any], plan: Plan
) -> None:
    """Ask the one upstream that can answer, with the client's query; no router is asked."""
    exchange.is_work = True
    check_parameters(payload, exchange.query())
    query = exchange.scope.get("query_string", b"").decode("latin-1")
    if query:
        dialect = replace(dialect, path=f"{dialect.path}?{query}")
    context = ChatContext(gateway, exchange, dialect, payload, plan, _deadline(gateway, exchange))
    context.method = "GET" if exchange.method == "HEAD" else exchange.method
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
    context = ChatContext(gateway, exchange, dialect, payload, plan, deadline)
    await _unless_cut(context)
    capture_chat(context)


async def _unless_cut(context: ChatContext) -> None:
    """Answer a chat; while that lasts, the gateway's end can cut it."""
    task = asyncio.current_task()
    assert task is not None

    def cut() -> None:
        context.is_cut = True
        task.cancel()

    context.gateway.streams.add(cut)
    # To begin an answer early is to say that it is a stream.
    is_stream = context.dialect.has_streams and context.payload.get("stream") is True
    wait_s = context.gateway.settings.routing.stream_keepalive_s if is_stream else 0
    try:
        async with KeepAlive(wait_s, partial(keep_alive, context)):
            started = await begin(context)
        await relay(context, started)
    except (GatewayError, asyncio.CancelledError) as stopped:
        if isinstance(stopped, asyncio.CancelledError):
            if not context.is_cut:
                raise
            task.uncancel()
            stopped = GatewayError("draining", "the gateway is shutting down; try again")
        if not context.exchange.status:
            raise stopped from None
        await last_word(context, stopped)
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
