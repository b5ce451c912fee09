"""Where a client sees the decision: in headers, in a field of the body, in a stream's first event."""

import json
import re
from typing import Any

from pointsman.serve.chat.context import ChatContext
from pointsman.serve.chat.refusal import should_retry
from pointsman.serve.edge.http import JSON
from pointsman.serve.upstream import sse
from pointsman.serve.upstream.headers import RETURNED, RETURNED_FAMILIES
from pointsman.serve.upstream.upstreams import BUSY, Upstream, UpstreamResponse

_CHUNKED = frozenset({"/chat/completions", "/completions"})
"""Paths whose events are chunks, to which a field can be added."""
_FIRST_OBJECT = re.compile(
    rb"(?:(?:(?:event|id|retry)?:[^\r\n]*)?[\r\n])*data: ?(\{[^\r\n]*\})[ \t]*(?>\r\n?|\n)(?!data)"
)
"""A stream's first data, where that is one line with an object; comments may stand ahead."""


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


def stream_headers(context: ChatContext, upstream: Upstream | None) -> list[tuple[bytes, bytes]]:
    """The headers of a stream; of one that begins before an upstream answers, None."""
    own = [
        (b"content-type", b"text/event-stream"),
        (b"cache-control", b"no-cache"),
        (b"x-accel-buffering", b"no"),
    ]
    return own + decision_headers(context, upstream)


def answer_headers(context: ChatContext, answer: UpstreamResponse) -> list[tuple[bytes, bytes]]:
    """All headers of an answer: its kind, the decision, and what an upstream's may come back."""
    if answer.is_stream:
        headers = stream_headers(context, answer.upstream)
    else:
        headers = [JSON, *decision_headers(context, answer.upstream)]
    for name, value in answer.response.headers.items():
        is_returned = name in RETURNED or name.startswith(RETURNED_FAMILIES)
        if is_returned and len(value) <= 256 and value.isascii() and value.isprintable():
            headers.append((name.encode(), value.encode()))
    status, said = answer.response.status, answer.response.headers
    if status >= 400:
        headers.append((b"x-should-retry", b"true" if should_retry(status, said) else b"false"))
        if status in BUSY and "retry-after" not in said:
            headers.append((b"retry-after", b"1"))
    return headers


def with_field(data: bytes, facts: dict[str, Any]) -> bytes:
    """A JSON object's bytes with the field `pointsman` at its end; everything before stays as it is."""
    head = data.rstrip()[:-1].rstrip()
    comma = b"" if head.endswith(b"{") else b","
    return head + comma + b'"pointsman":' + json.dumps(facts).encode() + b"}"


def with_decision(context: ChatContext, answer: UpstreamResponse, data: bytes) -> bytes:
    """The beginning of a stream, showing the decision: in its first chunk, in a comment ahead, or not at all.

    A chunk of our own would break `chunk.choices[0].delta`, the loop that most clients write.

    Args:
        data: whole events, as the upstream sent them.
    """
    way = context.gateway.settings.routing.stream_decision
    if way == "off" or answer.response.status != 200 or context.dialect.is_anthropic:
        return data
    facts = decision_facts(context, answer.upstream)
    if way == "event" and context.dialect.path in _CHUNKED:
        first = _FIRST_OBJECT.match(data)
        if first is not None:
            return data[: first.start(1)] + with_field(first[1], facts) + data[first.end(1) :]
    return sse.comment(facts) + data
