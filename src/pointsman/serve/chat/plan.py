"""Where a chat goes, and why: privacy first, then the client's wish, then rules, then the model.

This file decides; it refuses to know how an upstream is called.
"""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pointsman.errors import PointsmanError
from pointsman.runtime.chat import text_of_messages
from pointsman.serve.edge.http import Exchange
from pointsman.serve.failures import GatewayError
from pointsman.serve.gateway import Gateway
from pointsman.serve.inference.engine import Answer
from pointsman.serve.routing.rules import first_match, look_at

AUTO = frozenset({"auto", "pointsman", "pointsman/auto", "router"})
_THRESHOLD = re.compile(r"router-(?:[a-z_]+-)?(\d(?:\.\d{1,12})?)")
_HINTS = frozenset({"auto", "local-only", "cloud-only"})
_FORBIDDEN = frozenset(
    {"api_base", "base_url", "api_key", "api_type", "api_version", "azure_endpoint", "custom_llm_provider"}
)
_NESTED = ("extra_body", "metadata", "litellm_params", "extra_headers")
_BUSY = frozenset({"overloaded", "queue_timeout"})


@dataclass(frozen=True, slots=True)
class Plan:
    """Where a chat goes.

    Attributes:
        target: `local` or `cloud`.
        reason: the router's, or `requested`, `policy`, `rule:<name>`, `sticky`, `classifier_failed` or
            `classifier_busy`.
        is_bound: it must not go elsewhere, whatever breaks.
        answer: what the model said, where it was asked.
        decision_ms: how long that took.
    """

    target: str
    reason: str
    is_bound: bool
    answer: Answer | None
    decision_ms: float

    def trace_facts(self) -> dict[str, str | float | bool]:
        """The decision as facts of a span."""
        facts: dict[str, str | float | bool] = {"target": self.target, "reason": self.reason}
        return facts if self.answer is None else {**facts, **self.answer.trace_facts()}


async def plan_chat(gateway: Gateway, exchange: Exchange, payload: dict[str, Any], deadline: float) -> Plan:
    """Decide one chat.

    Args:
        payload: the request; only read.
        deadline: `time.monotonic()` at which it ends.

    Raises:
        GatewayError: a model or hint that is not understood, a forbidden parameter, no room in the queue.
    """
    check_parameters(payload, exchange.query())
    mode = parse_model(payload.get("model"), gateway)
    hint = exchange.header(b"x-pointsman-policy")
    if hint is not None and hint not in _HINTS:
        raise GatewayError("invalid_request", f"x-pointsman-policy: expected one of {sorted(_HINTS)}")
    rule = None
    if gateway.rules:
        rule = first_match(gateway.rules, look_at(payload, exchange.header(b"x-pointsman-tags")))
    if rule is not None and rule.send == "local-only":
        return Plan("local", f"rule:{rule.name}", True, None, 0.0)
    if hint in ("local-only", "cloud-only"):
        return Plan(hint.removesuffix("-only"), "policy", True, None, 0.0)
    if mode in ("local", "cloud"):
        return Plan(str(mode), "requested", False, None, 0.0)
    if rule is not None:
        target, _, only = rule.send.partition("-")
        return Plan(target, f"rule:{rule.name}", bool(only), None, 0.0)
    return await _by_model(gateway, exchange, payload, mode if isinstance(mode, float) else None, deadline)


def parse_model(model: Any, gateway: Gateway) -> str | float | None:
    """What a request's model asks for: a target, a threshold, or None for the router's own decision.

    Raises:
        GatewayError: `invalid_request` for any other name.
    """
    if model is None:
        return None
    if isinstance(model, str):
        if model in AUTO:
            return None
        name = model.removeprefix("pointsman/")
        if name in ("local", "cloud"):
            return name
        match = _THRESHOLD.fullmatch(name)
        if match and float(match[1]) <= 1.0:
            return float(match[1])
        for target in gateway.upstreams.names():
            upstream = gateway.upstreams.get(target)
            if upstream is not None and upstream.settings.model == model:
                return target
    raise GatewayError(
        "invalid_request",
        "model: expected auto, local, cloud, router-<threshold from 0 to 1>, or an upstream's model",
    )


def check_parameters(payload: Mapping[str, Any], query: Mapping[str, str]) -> None:
    """Refuse what would name an upstream or a secret: upstreams come from the configuration only.

    Raises:
        GatewayError: `forbidden_parameter`.
    """
    places: list[Any] = [payload, query, *(payload.get(name) for name in _NESTED)]
    for place in places:
        if isinstance(place, Mapping) and not _FORBIDDEN.isdisjoint(place):
            raise GatewayError("forbidden_parameter", "upstreams and keys are set by the operator only")


def messages_of(payload: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The conversation of a chat, a completion (`prompt`) or a response (`input`), as messages."""
    for name in ("messages", "input", "prompt"):
        value = payload.get(name)
        if isinstance(value, str):
            return [{"role": "user", "content": value}]
        if isinstance(value, list):
            if value and all(isinstance(item, str) for item in value):
                return [{"role": "user", "content": "\n".join(value)}]
            return [item for item in value if isinstance(item, dict)]
    return []


async def _by_model(
    gateway: Gateway, exchange: Exchange, payload: dict[str, Any], threshold: float | None, deadline: float
) -> Plan:
    messages = messages_of(payload)
    key = None
    if gateway.settings.routing.sticky:
        key = gateway.sticky.key(exchange.client, exchange.header(b"x-pointsman-session"), messages)
        known = gateway.sticky.get(key)
        if known is not None:
            gateway.sticky.put(key, known)
            return Plan(known, "sticky", False, None, 0.0)
    plan = await _ask(gateway, gateway.cache_owner(exchange.client), messages, threshold, deadline)
    if key is not None and plan.answer is not None:
        gateway.sticky.put(key, plan.target)
    return plan


async def _ask(
    gateway: Gateway,
    owner: str,
    messages: Sequence[Mapping[str, Any]],
    threshold: float | None,
    deadline: float,
) -> Plan:
    started = time.perf_counter()
    try:
        text = text_of_messages(messages, gateway.engine.current.router.manifest.chat)
        answer = (await gateway.engine.decide([text], deadline, owner=owner))[0]
        if threshold is not None:
            answer = Answer(gateway.engine.with_threshold(answer.decision, threshold), answer.version)
    except PointsmanError as error:
        is_busy = isinstance(error, GatewayError) and error.code in _BUSY
        return _default(gateway, "classifier_busy" if is_busy else "classifier_failed", started)
    elapsed_ms = 1000 * (time.perf_counter() - started)
    return Plan(answer.decision.target, answer.decision.reason.value, False, answer, elapsed_ms)


def _default(gateway: Gateway, reason: str, started: float) -> Plan:
    """A classifier that is broken or busy does not stop the chats: the operator said who answers then."""
    target = gateway.settings.routing.default_target
    return Plan(target, reason, False, None, 1000 * (time.perf_counter() - started))
