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
from pointsman.serve.chat.dialects import COUNT, RESPONSE
from pointsman.serve.chat.request import ChatRequest, policy_hint
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
    is_bound: bool = False
    answer: Answer | None = None
    decision_ms: float = 0.0
    is_paced: bool = False

    @property
    def is_local_only(self) -> bool:
        """Whether no other upstream may see this chat, in any way and at any time."""
        return self.is_bound and self.target == "local"

    def trace_facts(self) -> dict[str, str | float | bool]:
        """The decision as facts of a span."""
        facts: dict[str, str | float | bool] = {"target": self.target, "reason": self.reason}
        return facts if self.answer is None else {**facts, **self.answer.trace_facts()}


async def make_plan(request: ChatRequest) -> Plan:
    """Decide one chat, within the budget where there is one, and count the decision.

    Raises:
        GatewayError: a model or a conversation that is not understood.
    """
    gateway = request.gateway
    with gateway.tracing.decision() as span:
        plan = await _plan(request)
        if request.dialect is not COUNT:
            plan = _within_budget(gateway, plan)
        span.say(**plan.trace_facts())
    gateway.count_decision("chat", plan.target, plan.reason, plan.answer)
    request.exchange.facts |= {"target": plan.target, "reason": plan.reason}
    return plan


async def _plan(request: ChatRequest) -> Plan:
    gateway, exchange, payload = request.gateway, request.exchange, request.payload
    mode = parse_model(payload.get("model"), gateway, takes_any=request.dialect.takes_any_model)
    rule = await gateway.matching_rule(exchange, payload)
    key, stay = await request.read(_conversation, gateway, exchange, payload)
    wish = mode if mode in ("local", "cloud") else None
    if request.hint != "auto":
        wish = request.hint
    plan = _bound_plan(rule, stay, wish)
    maker = maker_of_turn(payload, list(gateway.upstreams)) if request.dialect is RESPONSE else None
    if maker is not None:
        plan = _follow_up(plan, maker)
    if plan is None and await request.read(_is_background, gateway, payload):
        return Plan(gateway.settings.routing.background, "background")
    if plan is None and stay is not None:
        plan = Plan(stay.target, "sticky", stay.is_bound)
    if plan is None:
        plan = await _ask(request, mode if isinstance(mode, float) else None)
    if key is not None and (plan.answer is not None or not plan.reason.startswith("classifier_")):
        is_bound = plan.is_local_only and plan.reason != FOLLOW_UP
        is_private = rule is not None and rule.send == "local-only"
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
    if gateway.settings.routing.background not in gateway.upstreams:
        return False
    return bool(payload.get("suffix")) or is_background_task(instructed_messages_of(payload))


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
        return _sent(rule.send, f"rule:{rule.name}")
    if stay is not None and (stay.is_private or (stay.is_bound and wish is None)):
        return Plan("local", "sticky", is_bound=True)
    if wish is not None:
        return _sent(wish, "policy" if wish.endswith("-only") else "requested")
    return None if rule is None else _sent(rule.send, f"rule:{rule.name}")


def _sent(send: str, reason: str) -> Plan:
    target, _, only = send.partition("-")
    return Plan(target, reason, is_bound=bool(only))


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
    return plan if plan is not None and plan.is_bound else Plan(maker, FOLLOW_UP, is_bound=True)


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
        for target, upstream in gateway.upstreams.items():
            if upstream.settings.model == asked:
                return target
        if takes_any or gateway.settings.routing.unknown_model == "auto":
            return None
    raise GatewayError(
        "invalid_request",
        "model: expected auto, local, cloud, an alias, router-<0 to 1>, or an upstream's model",
    )


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


def instructed_messages_of(payload: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The same, with the instructions that stand beside the messages in front of them."""
    told = [payload.get(name) for name in ("instructions", "system")]
    instructions = [{"role": "system", "content": content} for content in told if content is not None]
    return [*instructions, *messages_of(payload)]


async def _ask(request: ChatRequest, threshold: float | None) -> Plan:
    """Let the model decide; a classifier that is broken or busy does not stop a chat.

    Args:
        threshold: the client's, 0..1; None for the budget's or the served one.
    """
    gateway, started, is_paced = request.gateway, time.perf_counter(), False
    answer: Answer | None = None
    try:
        chat = gateway.engine.current.router.manifest.chat
        text = await request.read(text_of_messages, messages_of(request.payload), chat)
        owner = gateway.cache_owner(request.exchange.client)
        answer = (await gateway.engine.decide([text], request.deadline, owner=owner))[0]
        if is_paced := threshold is None and gateway.budget is not None:
            threshold = gateway.budget.threshold
        if threshold is not None:
            answer = Answer(gateway.engine.with_threshold(answer.decision, threshold), answer.version)
        target, reason = answer.decision.target, answer.decision.reason.value
    except PointsmanError as error:
        is_busy = isinstance(error, GatewayError) and error.code in _BUSY
        answer, is_paced, target = None, False, gateway.settings.routing.default_target
        reason = "classifier_busy" if is_busy else "classifier_failed"
    elapsed_ms = 1000 * (time.perf_counter() - started)
    return Plan(target, reason, answer=answer, decision_ms=elapsed_ms, is_paced=is_paced)
