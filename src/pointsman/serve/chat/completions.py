"""The chat routes: a request becomes a plan, the plan an answer, and the outcome is written down."""

from dataclasses import replace
from typing import Any

from pointsman.serve.chat import dialects
from pointsman.serve.chat.answer import answer
from pointsman.serve.chat.dialects import Dialect
from pointsman.serve.chat.plan import FOLLOW_UP, Plan, make_plan, parse_model, stays_local
from pointsman.serve.chat.record import capture_chat
from pointsman.serve.chat.request import NO_UPSTREAM, ChatRequest, deadline_of, policy_hint
from pointsman.serve.chat.response_ids import maker_of, plain_id
from pointsman.serve.edge.disconnect import WhileConnected
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


async def _serve(gateway: Gateway, exchange: Exchange, dialect: Dialect) -> None:
    """One chat, from its request to its record."""
    exchange.is_work = True
    if gateway.chats >= gateway.settings.limits.chats:
        raise GatewayError("overloaded", "too many chats are in flight; try again")
    gateway.chats += 1
    try:
        request = await ChatRequest.receive(gateway, exchange, dialect)
        async with WhileConnected(exchange):
            plan = await make_plan(request)
            outcome = await answer(request, plan)
            capture_chat(request, outcome)
    finally:
        gateway.chats -= 1


async def stored_response(gateway: Gateway, exchange: Exchange) -> None:
    """`/v1/responses/{response}`, its `input_items` and `cancel`: asked of the upstream that made it."""
    if exchange.method == "POST":
        await gateway.text_body(exchange)
    maker, its_id = maker_of(exchange.params["response"], list(gateway.upstreams))
    path = f"/responses/{its_id}{exchange.route.partition('{response}')[2]}"
    if await _bound_to(gateway, exchange, {}) - {maker}:
        raise GatewayError("forbidden", f"this must not go to the {maker} upstream, which keeps the response")
    await _ask_bound(gateway, exchange, replace(dialects.RESPONSE, path=path), {}, maker)


async def conversation(gateway: Gateway, exchange: Exchange) -> None:
    """`/v1/conversations`, one of them and its `items`: made by the cloud, if it may; kept by its maker."""
    names, payload = list(gateway.upstreams), {}
    if exchange.method == "POST":
        payload = await gateway.chat_payload(exchange, empty=b"{}")
    if not names:
        raise GatewayError("no_upstream", NO_UPSTREAM)
    wanted, given = await _bound_to(gateway, exchange, payload), exchange.params.get("conversation")
    maker, path = next(iter(wanted), "cloud" if "cloud" in names else names[0]), "/conversations"
    if given is not None:
        maker, its_id = maker_of(given, names)
        item = plain_id(exchange.params.get("item", "none"))
        path = exchange.route.removeprefix("/v1").format(conversation=its_id, item=item)
    if wanted - {maker}:
        raise GatewayError("forbidden", f"this must not go to the {maker} upstream, which keeps these turns")
    await _ask_bound(gateway, exchange, replace(dialects.CONVERSATION, path=path), payload, maker)


async def embeddings(gateway: Gateway, exchange: Exchange) -> None:
    """`/v1/embeddings`: passed to the upstream that `routing.embeddings` names, with the client's model."""
    target = gateway.settings.routing.embeddings
    payload = await gateway.chat_payload(exchange)
    if target is None or target not in gateway.upstreams:
        raise GatewayError("no_upstream", "no upstream is set for embeddings; set routing.embeddings")
    if await _bound_to(gateway, exchange, payload) - {target}:
        # Vectors of another model would be no answer: they cannot be compared.
        raise GatewayError(
            "forbidden", f"this text must not go to the {target} upstream, which routing.embeddings names"
        )
    await _ask_bound(gateway, exchange, dialects.EMBEDDINGS, payload, target)


async def _bound_to(gateway: Gateway, exchange: Exchange, payload: dict[str, Any]) -> set[str]:
    """The targets that header, rule or conversation bind a request to; with two it can go nowhere."""
    # The query, what the path names, and the model of embeddings go to the upstream, too.
    further = [payload.get("data"), payload.get("model"), exchange.query(), exchange.params]
    rule = await gateway.matching_rule(exchange, {**payload, "data": further})
    sends = [policy_hint(exchange), "" if rule is None else rule.send]
    said = {"input": payload.get("items", payload.get("input"))}
    if await gateway.read(exchange.held_bytes, exchange.client, stays_local, gateway, exchange, said):
        sends.append("local-only")
    return {send.partition("-")[0] for send in sends if send.endswith("-only")}


async def _ask_bound(
    gateway: Gateway, exchange: Exchange, dialect: Dialect, payload: dict[str, Any], target: str
) -> None:
    """Ask the one upstream that can answer, with the client's query; no router is asked."""
    exchange.is_work = True
    query = exchange.scope.get("query_string", b"").decode("latin-1")
    if query:
        dialect = replace(dialect, path=f"{dialect.path}?{query}")
    method = "GET" if exchange.method == "HEAD" else exchange.method
    deadline = deadline_of(gateway, exchange)
    request = ChatRequest(gateway, exchange, dialect, payload, deadline, method=method)
    request.check_parameters()
    reason = "embeddings" if dialect.operation == "embeddings" else FOLLOW_UP
    async with WhileConnected(exchange):
        await answer(request, Plan(target, reason, is_bound=True))


async def models(gateway: Gateway, exchange: Exchange) -> None:
    """`/v1/models`: what a request's model may say."""
    names = dict.fromkeys(["auto", *gateway.upstreams, *gateway.settings.routing.aliases])
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
