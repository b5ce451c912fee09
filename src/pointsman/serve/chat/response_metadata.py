"""Where a client sees the decision: in headers, in a field of the body, in a stream's first event."""

import json
import time
from typing import Any

from pointsman.serve.chat.context import ChatContext
from pointsman.serve.upstream import sse
from pointsman.serve.upstream.upstreams import RETURNED, Upstream, UpstreamResponse


def decision_facts(context: ChatContext, upstream: Upstream | None) -> dict[str, Any]:
    """The decision, and who answered, as the body's field `pointsman`."""
    plan = context.plan
    facts: dict[str, Any] = {"target": plan.target, "reason": plan.reason}
    if plan.answer is not None:
        decision = plan.answer.decision
        facts |= {
            "label": decision.label,
            "confidence": round(decision.confidence, 6),
            "p_cloud": round(decision.p_cloud, 6),
            "version": plan.answer.version,
        }
    facts |= {
        "upstream": None if upstream is None else upstream.name,
        "fallback": context.fallback,
        "decision_ms": round(plan.decision_ms, 3),
    }
    return {**facts, "hedged": True} if context.is_hedged else facts


def decision_headers(context: ChatContext, upstream: Upstream | None) -> list[tuple[bytes, bytes]]:
    """The same as headers."""
    plan = context.plan
    headers = [
        (b"x-pointsman-target", plan.target.encode()),
        (b"x-pointsman-reason", plan.reason.encode()),
        (b"x-pointsman-decision-ms", f"{plan.decision_ms:.3f}".encode()),
    ]
    if plan.answer is not None:
        headers.append((b"x-pointsman-confidence", f"{plan.answer.decision.confidence:.4f}".encode()))
        headers.append((b"x-pointsman-p-cloud", f"{plan.answer.decision.p_cloud:.4f}".encode()))
        headers.append((b"x-pointsman-version", plan.answer.version.encode()))
    if upstream is not None:
        headers.append((b"x-pointsman-upstream", upstream.name.encode()))
        model = upstream.settings.model
        if model is not None and model.isascii() and model.isprintable():
            headers.append((b"x-pointsman-model", model.encode()))
    if context.fallback is not None:
        headers.append((b"x-pointsman-fallback", context.fallback.encode()))
    if context.is_hedged:
        headers.append((b"x-pointsman-hedged", b"true"))
    return headers


def answer_headers(context: ChatContext, answer: UpstreamResponse) -> list[tuple[bytes, bytes]]:
    """All headers of an answer: its kind, the decision, and what an upstream's may come back."""
    headers = [(b"content-type", (answer.kind or "application/octet-stream").encode("ascii", "replace"))]
    if answer.is_stream:
        headers += [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
    headers += decision_headers(context, answer.upstream)
    for name, value in answer.response.headers.items():
        is_returned = name in RETURNED or name.startswith("x-ratelimit-")
        if is_returned and len(value) <= 256 and value.isascii() and value.isprintable():
            headers.append((name.encode(), value.encode()))
    return headers


def with_field(data: bytes, facts: dict[str, Any]) -> bytes:
    """A JSON object's bytes with the field `pointsman` at its end; everything before stays as it is."""
    head = data.rstrip()[:-1].rstrip()
    comma = b"" if head.endswith(b"{") else b","
    return head + comma + b'"pointsman":' + json.dumps(facts).encode() + b"}"


def preamble(context: ChatContext, answer: UpstreamResponse) -> bytes:
    """What goes ahead of a stream's first event: a chunk without choices, a comment, or nothing."""
    way = context.gateway.settings.routing.stream_decision
    if way == "off" or answer.response.status != 200:
        return b""
    facts = decision_facts(context, answer.upstream)
    if way == "comment" or context.path != "/chat/completions":
        return sse.comment(facts)
    return sse.event(
        {
            "id": f"pointsman-{context.exchange.request_id}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": answer.upstream.settings.model or answer.upstream.name,
            "choices": [],
            "pointsman": facts,
        }
    )
