"""What has become of a chat, and how its client sees that: headers, body, the first events of a stream."""

import json
import re
from dataclasses import dataclass
from typing import Any

from pointsman.serve.chat.plan import Plan
from pointsman.serve.chat.refusal import message_of
from pointsman.serve.chat.request import ChatRequest
from pointsman.serve.chat.started import StartedResponse
from pointsman.serve.edge.http import JSON
from pointsman.serve.failures import anthropic_error
from pointsman.serve.upstream import sse
from pointsman.serve.upstream.headers import RETURNED, RETURNED_FAMILIES
from pointsman.serve.upstream.upstreams import BUSY, Upstream

STREAM = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_CHUNKED = frozenset({"/chat/completions", "/completions"})
"""Paths whose events are chunks, to which a field can be added."""
_FIRST_OBJECT = re.compile(
    rb"(?:(?:(?:event|id|retry)?:[^\r\n]*)?[\r\n])*data: ?(\{[^\r\n]*\})[ \t]*(?>\r\n?|\n)(?!data)"
)
"""A stream's first data, where that is one line with an object; comments may stand ahead."""


@dataclass(slots=True)
class Outcome:
    """What has become of a chat so far.

    Attributes:
        started: the answer; None until one has begun.
        fallback: why another upstream than the plan's has to answer; None as long as none has to.
        is_hedged: both upstreams were asked at once.
    """

    plan: Plan
    started: StartedResponse | None = None
    fallback: str | None = None
    is_hedged: bool = False

    def facts(self, upstream: Upstream | None = None) -> dict[str, Any]:
        """The decision, and the upstream that answered, as the body's field `pointsman`."""
        plan, answer = self.plan, self.plan.answer
        facts: dict[str, Any] = {"target": plan.target, "reason": plan.reason}
        if answer is not None:
            confidence, p_cloud = round(answer.decision.confidence, 6), round(answer.decision.p_cloud, 6)
            facts |= {"label": answer.decision.label, "confidence": confidence, "p_cloud": p_cloud}
            facts["version"] = answer.version
        facts |= {
            "upstream": None if upstream is None else upstream.name,
            "fallback": self.fallback,
            "decision_ms": round(plan.decision_ms, 3),
        }
        return {**facts, "hedged": True} if self.is_hedged else facts

    def headers(self, upstream: Upstream | None = None) -> list[tuple[bytes, bytes]]:
        """The same as headers, with the model that answered."""
        plan, answer = self.plan, self.plan.answer
        said = {"target": plan.target, "reason": plan.reason, "decision-ms": f"{plan.decision_ms:.3f}"}
        if answer is not None:
            said["confidence"] = f"{answer.decision.confidence:.4f}"
            said |= {"p-cloud": f"{answer.decision.p_cloud:.4f}", "version": answer.version}
        if upstream is not None:
            said["upstream"], model = upstream.name, upstream.settings.model
            if model is not None and model.isascii() and model.isprintable():
                said["model"] = model
        if self.fallback is not None:
            said["fallback"] = self.fallback
        if self.is_hedged:
            said["hedged"] = "true"
        return [(b"x-pointsman-" + name.encode(), text.encode()) for name, text in said.items()]


def _headers(outcome: Outcome, started: StartedResponse) -> list[tuple[bytes, bytes]]:
    """All headers of an answer: its kind, the decision, and what an upstream's may come back."""
    status, said = started.answer.response.status, started.answer.response.headers
    kind = STREAM if started.answer.is_stream else (JSON,)
    headers = [*kind, *outcome.headers(started.upstream)]
    for name, value in said.items():
        is_returned = name in RETURNED or name.startswith(RETURNED_FAMILIES)
        if is_returned and len(value) <= 256 and value.isascii() and value.isprintable():
            headers.append((name.encode(), value.encode()))
    if status >= 400:
        headers.append((b"x-should-retry", b"true" if _should_retry(status, said) else b"false"))
        if status in BUSY and "retry-after" not in said:
            headers.append((b"retry-after", b"1"))
    return headers


def first_piece(
    request: ChatRequest, outcome: Outcome, started: StartedResponse
) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """The headers of an answer, and its whole body or a stream's first events, which show the decision."""
    data, status = started.data, started.answer.response.status
    facts = outcome.facts(started.upstream)
    if started.events is not None:
        data = _with_decision(request, data, facts, status)
    elif status >= 400:
        data = _with_field(_shaped(request, started.value, data, status), facts)
    elif started.value is not None:
        data = _with_field(data, facts)
    return _headers(outcome, started), data


def _with_decision(request: ChatRequest, data: bytes, facts: dict[str, Any], status: int) -> bytes:
    """A stream's first events with the decision: in the first chunk, in a comment ahead, or not at all.

    A chunk of our own would break `chunk.choices[0].delta`, the loop that most clients write.
    """
    way = request.gateway.settings.routing.stream_decision
    if way == "off" or status != 200 or request.dialect.is_anthropic:
        return data
    if way == "event" and request.dialect.path in _CHUNKED:
        first = _FIRST_OBJECT.match(data)
        if first is not None:
            return data[: first.start(1)] + _with_field(first[1], facts) + data[first.end(1) :]
    return sse.comment(facts) + data


def _with_field(data: bytes, facts: dict[str, Any]) -> bytes:
    """A JSON object's bytes with the field `pointsman` at its end; everything before stays as it is."""
    head = data.rstrip()[:-1].rstrip()
    comma = b"" if head.endswith(b"{") else b","
    return head + comma + b'"pointsman":' + json.dumps(facts).encode() + b"}"


def _shaped(request: ChatRequest, value: dict[str, Any] | None, data: bytes, status: int) -> bytes:
    """An error's body as the chat's dialect shapes it: as it came where it has that shape."""
    is_anthropic, request_id = request.dialect.is_anthropic, request.exchange.request_id
    error = None if value is None else value.get("error")
    is_named = not is_anthropic or (value is not None and value.get("type") == "error")
    if is_named and isinstance(error, dict) and isinstance(error.get("message"), str):
        return data
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    message = message_of(value) or f"the upstream answered with status {status}"
    if is_anthropic:
        return json.dumps(anthropic_error(status, message, "upstream_refused", request_id)).encode()
    told = {"message": message, "type": kind, "code": "upstream_refused", "request_id": request_id}
    return json.dumps({"error": told}).encode()


def _should_retry(status: int, headers: dict[str, str]) -> bool:
    """Whether the same request may succeed later: as the upstream says, or by its status."""
    said = headers.get("x-should-retry", "").lower()
    if said in ("true", "false"):
        return said == "true"
    return status in (408, 409, 429, 529) or (status >= 500 and "retry-after" in headers)
