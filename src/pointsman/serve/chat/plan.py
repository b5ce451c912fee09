"""Where a chat goes, and why: privacy first, then the client's wish, then rules, then the model.

This file decides; how an upstream is called is not its business.
"""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pointsman.errors import PointsmanError
from pointsman.runtime.chat import text_of_messages
from pointsman.runtime.wrappers import is_background_task
from pointsman.serve.chat.dialects import COUNT, RESPONSE, Dialect
from pointsman.serve.chat.response_ids import maker_of_turn
from pointsman.serve.edge.http import Exchange
from pointsman.serve.failures import GatewayError
from pointsman.serve.gateway import Gateway
from pointsman.serve.inference.engine import Answer
from pointsman.serve.routing.sticky import Stay
from pointsman.serve.settings import Rule

FOLLOW_UP = "follow_up"
AUTO = frozenset({"auto", "pointsman", "pointsman/auto", "router"})
_THRESHOLD = re.compile(r"router-(?:[a-z_]+-)?(\d(?:\.\d{1,12})?)")
_HINTS = ("local-only", "cloud-only", "auto")
"""The strictest first."""
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
        reason: the router's, or `requested`, `policy`, `rule:<name>`, `background`, `sticky`, `follow_up`,
            `classifier_failed`, `classifier_busy` or `budget`.
        is_bound: it must not go elsewhere, whatever breaks.
        answer: what the model said, where it was asked.
        decision_ms: how long that took.
        is_paced: the budget's threshold decided.
    """

    target: str
    reason: str
    is_bound: bool
    answer: Answer | None
    decision_ms: float
    is_paced: bool = False

    @property
    def is_local_only(self) -> bool:
        """Whether no other upstream may see this chat, in any way and at any time."""
        return self.is_bound and self.target == "local"

    def trace_facts(self) -> dict[str, str | float | bool]:
        """The decision as facts of a span."""
        facts: dict[str, str | float | bool] = {"target": self.target, "reason": self.reason}
        return facts if self.answer is None else {**facts, **self.answer.trace_facts()}


async def plan_chat(
    gateway: Gateway, exchange: Exchange, dialect: Dialect, payload: dict[str, Any], deadline: float
) -> Plan:
    """Decide one chat, within the budget where there is one; see `_plan`."""
    plan = await _plan(gateway, exchange, dialect, payload, deadline)
    return plan if dialect is COUNT else _within_budget(gateway, plan)


async def _plan(
    gateway: Gateway, exchange: Exchange, dialect: Dialect, payload: dict[str, Any], deadline: float
) -> Plan:
    """Decide one chat.

    Args:
        payload: the request; only read.
        deadline: `time.monotonic()` at which it ends.

    Raises:
        GatewayError: a model or hint that is not understood, a forbidden parameter, no room in the queue.
    """
    check_parameters(payload, exchange.query())
    mode = parse_model(payload.get("model"), gateway, takes_any=dialect.takes_any_model)
    hint = policy_hint(exchange)
    rule = await gateway.matching_rule(exchange, payload)
    is_private = rule is not None and rule.send == "local-only"
    key, stay = await gateway.read(exchange.held_bytes, _conversation, gateway, exchange, payload)
    wish = hint if hint != "auto" else mode if mode in ("local", "cloud") else None
    plan = _bound_plan(rule, stay, wish)
    maker = maker_of_turn(payload, gateway.upstreams.names()) if dialect is RESPONSE else None
    if maker is not None:
        plan = _follow_up(plan, maker)
    if plan is None and await gateway.read(exchange.held_bytes, _is_background, gateway, payload):
        return Plan(gateway.settings.routing.background, "background", False, None, 0.0)
    if plan is None and stay is not None:
        plan = Plan(stay.target, "sticky", stay.is_bound, None, 0.0)
    if plan is None:
        threshold = mode if isinstance(mode, float) else None
        plan = await _ask(gateway, exchange, messages_of(payload), threshold, deadline)
    if key is not None and (plan.answer is not None or not plan.reason.startswith("classifier_")):
        is_bound = plan.is_local_only and plan.reason != FOLLOW_UP
        gateway.sticky.put(key, plan.target, is_bound=is_bound, is_private=is_private)
    return plan


def _within_budget(gateway: Gateway, plan: Plan) -> Plan:
    """The plan, or the local upstream where the money is used up and neither client nor rule insists."""
    if gateway.budget is None:
        return plan
    if plan.is_paced and plan.answer is not None:
        gateway.history.score(plan.answer.decision.p_cloud)
    may_move = plan.target == "cloud" and not plan.is_bound and plan.reason != "requested"
    return replace(plan, target="local", reason="budget") if may_move and gateway.budget.is_used_up else plan


def _is_background(gateway: Gateway, payload: Mapping[str, Any]) -> bool:
    """Whether a front-end asks on its own, and the operator says who answers then."""
    if gateway.upstreams.get(gateway.settings.routing.background) is None:
        return False
    told = [{"role": "system", "content": payload.get(name)} for name in ("instructions", "system")]
    return bool(payload.get("suffix")) or is_background_task([*told, *messages_of(payload)])


def policy_hint(exchange: Exchange) -> str:
    """The strictest of the headers `x-pointsman-policy`; `auto` without any.

    Raises:
        GatewayError: `invalid_request` for any other value.
    """
    hints = {value.lower() for value in exchange.header_values(b"x-pointsman-policy")}
    if not hints <= set(_HINTS):
        raise GatewayError("invalid_request", f"x-pointsman-policy: expected one of {sorted(_HINTS)}")
    return next((hint for hint in _HINTS if hint in hints), "auto")


def _conversation(
    gateway: Gateway, exchange: Exchange, payload: Mapping[str, Any]
) -> tuple[bytes | None, Stay | None]:
    """Which conversation a turn belongs to, and where that stays; nothing where conversations may move."""
    if not gateway.settings.routing.sticky:
        return None, None
    sessions = set(exchange.header_values(b"x-pointsman-session"))
    if len(sessions) > 1:
        raise GatewayError("invalid_request", "x-pointsman-session: expected one conversation, not several")
    key = gateway.sticky.key(exchange.client, next(iter(sessions), None), messages_of(payload))
    return key, gateway.sticky.get(key)


def stays_local(gateway: Gateway, exchange: Exchange, payload: Mapping[str, Any]) -> bool:
    """Whether an earlier turn keeps this conversation local, on the routes that ask no router."""
    if not (list(exchange.header_values(b"x-pointsman-session")) or messages_of(payload)):
        return False
    _, stay = _conversation(gateway, exchange, payload)
    return stay is not None and stay.is_bound and (stay.is_private or policy_hint(exchange) == "auto")


def _bound_plan(rule: Rule | None, stay: Stay | None, wish: str | None) -> Plan | None:
    """What settles a chat before the model: privacy, then the client's wish, then a rule."""
    if rule is not None and rule.send == "local-only":
        return Plan("local", f"rule:{rule.name}", True, None, 0.0)
    if stay is not None and stay.is_private:
        return Plan("local", "sticky", True, None, 0.0)
    if wish is not None:
        target, _, only = wish.partition("-")
        return Plan(target, "policy" if only else "requested", bool(only), None, 0.0)
    if stay is not None and stay.is_bound:
        return Plan("local", "sticky", True, None, 0.0)
    if rule is not None:
        target, _, only = rule.send.partition("-")
        return Plan(target, f"rule:{rule.name}", bool(only), None, 0.0)
    return None


def _follow_up(plan: Plan | None, maker: str) -> Plan:
    """A turn after one that an upstream keeps: no other has the turns before, whatever breaks.

    Raises:
        GatewayError: `invalid_request`: this turn must go, or was asked to go, elsewhere.
    """
    if plan is not None and plan.target != maker and (plan.is_bound or plan.reason == "requested"):
        raise GatewayError(
            "invalid_request",
            f"the {maker} upstream keeps the turns before, but this one is for {plan.target}: send all",
        )
    return plan if plan is not None and plan.is_bound else Plan(maker, FOLLOW_UP, True, None, 0.0)


def parse_model(model: Any, gateway: Gateway, *, takes_any: bool = False) -> str | float | None:
    """What a request's model asks for: a target, a threshold, or None for the router's own decision.

    Args:
        takes_any: an unknown name means None. So does each of Anthropic's models, also where an upstream has
            that name: Claude Code always sends one.

    Raises:
        GatewayError: `invalid_request` for any other name.
    """
    if model is None:
        return None
    if isinstance(model, str):
        asked: str = gateway.settings.routing.aliases.get(model, model)
        if asked in AUTO or (takes_any and asked == model and "claude" in model):
            return None
        name = asked.removeprefix("pointsman/")
        if name in ("local", "cloud"):
            return name
        match = _THRESHOLD.fullmatch(name)
        if match and float(match[1]) <= 1.0:
            return float(match[1])
        for target in gateway.upstreams.names():
            upstream = gateway.upstreams.get(target)
            if upstream is not None and upstream.settings.model == asked:
                return target
        if takes_any or gateway.settings.routing.unknown_model == "auto":
            return None
    raise GatewayError(
        "invalid_request",
        "model: expected auto, local, cloud, an alias, router-<0 to 1>, or an upstream's model",
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


async def _ask(
    gateway: Gateway,
    exchange: Exchange,
    messages: Sequence[Mapping[str, Any]],
    threshold: float | None,
    deadline: float,
) -> Plan:
    started = time.perf_counter()
    try:
        chat = gateway.engine.current.router.manifest.chat
        text = await gateway.read(exchange.held_bytes, text_of_messages, messages, chat)
        owner = gateway.cache_owner(exchange.client)
        answer = (await gateway.engine.decide([text], deadline, owner=owner))[0]
        if is_paced := threshold is None and gateway.budget is not None:
            threshold = gateway.budget.threshold
        if threshold is not None:
            answer = Answer(gateway.engine.with_threshold(answer.decision, threshold), answer.version)
    except PointsmanError as error:
        is_busy = isinstance(error, GatewayError) and error.code in _BUSY
        return _default(gateway, "classifier_busy" if is_busy else "classifier_failed", started)
    elapsed_ms = 1000 * (time.perf_counter() - started)
    return Plan(answer.decision.target, answer.decision.reason.value, False, answer, elapsed_ms, is_paced)


def _default(gateway: Gateway, reason: str, started: float) -> Plan:
    """A classifier that is broken or busy does not stop the chats: the operator said who answers then."""
    target = gateway.settings.routing.default_target
    return Plan(target, reason, False, None, 1000 * (time.perf_counter() - started))
