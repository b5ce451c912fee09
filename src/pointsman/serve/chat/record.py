"""What is kept of an answered chat: nothing of one that a rule, a header or a conversation binds to local."""

from typing import Any

from pointsman.serve.capture.capture import row_id
from pointsman.serve.capture.options import captured_options
from pointsman.serve.chat import dialects
from pointsman.serve.chat.outcome import Outcome
from pointsman.serve.chat.plan import instructed_messages_of
from pointsman.serve.chat.request import ChatRequest
from pointsman.serve.chat.shadow import ask_both
from pointsman.serve.edge.http import Exchange
from pointsman.serve.edge.keys import KEY_HEADERS
from pointsman.serve.edge.strict_json import checked_share
from pointsman.serve.failures import GatewayError
from pointsman.serve.gateway import Gateway

_CONVERSATIONS = (dialects.CHAT, dialects.COMPLETION, dialects.RESPONSE, dialects.MESSAGE)
_SHORTEST_KEY = 16
_MOST_ID_CHARS = 64


def capture_chat(request: ChatRequest, outcome: Outcome) -> None:
    """Write down what was asked, if that may be: nothing of a chat that is bound to one upstream."""
    gateway, exchange, plan = request.gateway, request.exchange, outcome.plan
    capture, started = gateway.capture, outcome.started
    if capture is None or started is None:
        return
    row = row_id(exchange.client, exchange.request_id)
    # A user wrote it, it is whole, and no upstream is excluded.
    may_be_kept = request.dialect in _CONVERSATIONS and not plan.is_bound and plan.reason != "background"
    is_answered = exchange.status < 300 and "code" not in exchange.facts
    if not (may_be_kept and is_answered and capture.takes(row)):
        return
    facts: dict[str, Any] = {"target": plan.target, "reason": plan.reason, "served": started.upstream.name}
    if plan.answer is not None:
        facts |= {"p_cloud": round(plan.answer.decision.p_cloud, 6), "version": plan.answer.version}
    shown = (exchange.header(name) or "" for name in KEY_HEADERS)
    keys = [word for value in shown for word in value.split() if len(word) >= _SHORTEST_KEY]
    said = instructed_messages_of(request.payload)
    options = captured_options(request.payload)
    facts |= options
    # A pair is asked the text alone.
    if options or not ask_both(gateway, row, said, facts, keys):
        capture.chat(row, said, facts, keys, exchange.held_bytes)


async def feedback(gateway: Gateway, exchange: Exchange) -> None:
    """`/v1/feedback`: `{"request_id", "target"}` or `{"request_id", "score"}` on an answer to this client."""
    payload = await gateway.text_payload(exchange)
    if gateway.capture is None:
        raise GatewayError("not_found", "nothing is captured here, so no feedback is taken; see capture.path")
    request_id, said = payload.get("request_id"), {k: v for k, v in payload.items() if k != "request_id"}
    if not isinstance(request_id, str) or not 0 < len(request_id) <= _MOST_ID_CHARS:
        raise GatewayError("invalid_request", "request_id: expected the x-request-id of an answer")
    if len(said) != 1 or not said.keys() <= {"target", "score"}:
        raise GatewayError("invalid_request", "expected request_id, and either target or score")
    if "score" in said:
        said["score"] = checked_share(said["score"], "score")
    elif said["target"] not in ("local", "cloud"):
        raise GatewayError("invalid_request", "target: expected local (was enough) or cloud (was needed)")
    is_kept = gateway.capture.feedback(row_id(exchange.client, request_id), said)
    await exchange.respond_json({"request_id": request_id, **said, "stored": is_kept}, 202)
