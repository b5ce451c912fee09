"""One running gateway: its parts, and whether it is taking requests.

Built by `build`, from settings; it holds no rules of its own.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry

from pointsman.decision import Decision
from pointsman.serve.budget import Budget
from pointsman.serve.capture.capture import Capture
from pointsman.serve.edge import large_json, strict_json
from pointsman.serve.edge.http import Exchange
from pointsman.serve.edge.keys import Access, load_access
from pointsman.serve.edge.memory import MemoryBudget
from pointsman.serve.edge.rate import RateLimit
from pointsman.serve.edge.readers import Readers
from pointsman.serve.inference.engine import Answer, Engine
from pointsman.serve.logs import Tally, log
from pointsman.serve.observability.history import History
from pointsman.serve.observability.live import Live
from pointsman.serve.observability.metrics import EngineCollector, Metrics
from pointsman.serve.observability.peers import Peers
from pointsman.serve.observability.tracing import Tracing, make_tracing
from pointsman.serve.routing.request_text import RequestText
from pointsman.serve.routing.rules import CompiledRule, compile_rules, first_match
from pointsman.serve.routing.sticky import Sticky
from pointsman.serve.settings import GatewaySettings, Rule
from pointsman.serve.upstream.headers import FORWARDED
from pointsman.serve.upstream.upstreams import Upstreams

T = TypeVar("T")
_STORE_S = 5.0


@dataclass(eq=False)
class Gateway:
    """Everything that a request needs."""

    settings: GatewaySettings
    engine: Engine
    metrics: Metrics
    access: Access
    live: Live
    rate: RateLimit
    memory: MemoryBudget
    upstreams: Upstreams
    rules: tuple[CompiledRule, ...]
    sticky: Sticky
    tracing: Tracing
    history: History
    budget: Budget | None = None
    """What moves the threshold, where the operator set an amount."""
    capture: Capture | None = None
    """What writes chats down, where the operator wants that."""
    peers: Peers | None = None
    """The other processes behind the same port, where there are any."""
    readers: Readers = field(default_factory=Readers)
    tally: Tally = field(default_factory=Tally)
    is_draining: bool = False
    in_flight: int = 0
    chats: int = 0
    shadows: set[asyncio.Task[None]] = field(default_factory=set)
    """Pairs of answers that are asked for, behind the chats."""
    streams: set[Callable[[], None]] = field(default_factory=set)
    """How to cut each running chat, for the end of the grace time."""

    @property
    def is_ready(self) -> bool:
        """Whether new requests are welcome."""
        return self.engine.is_ready and not self.is_draining

    async def text_body(self, exchange: Exchange) -> bytes:
        """The body of a request about texts: JSON, within its limits."""
        limits = self.settings.limits
        return await exchange.json_body(limits.text_body_bytes, limits.body_timeout_s)

    async def text_payload(self, exchange: Exchange, empty: bytes = b"") -> dict[str, Any]:
        """The same as a JSON object; `empty` is read in place of an empty body."""
        body = await self.text_body(exchange)
        return await self.read_object(body if body.strip() else empty)

    async def chat_payload(self, exchange: Exchange, empty: bytes = b"") -> dict[str, Any]:
        """The body of a chat: a larger JSON object; a deployment that the path names is its model.

        Args:
            empty: read in place of an empty body.
        """
        limits = self.settings.limits
        body = await exchange.json_body(limits.body_bytes, limits.body_timeout_s)
        payload = await self.read_object(body or empty, exchange.client)
        if "deployment" in exchange.params:
            payload["model"] = exchange.params["deployment"]
        return payload

    async def read_json(self, body: bytes, client: str = "") -> Any:
        """The value in a body; of a large one without keeping others waiting.

        Raises:
            GatewayError: `invalid_json`, `body_too_large`.
        """
        parse = strict_json.parse if len(body) <= large_json.AT_ONCE_BYTES else large_json.parse
        return await self.read(len(body), client, parse, body)

    async def read_object(self, body: bytes, client: str = "") -> dict[str, Any]:
        """Like `read_json`, for a body that must be an object."""
        return strict_json.checked_object(await self.read_json(body, client))

    async def read(self, size: int, client: str, work: Callable[..., T], *given: Any) -> T:
        """What grows with the bytes of a request or an answer; in a thread where those are many."""
        if size <= large_json.AT_ONCE_BYTES:
            return work(*given)
        return await self.readers.run(size, client, work, *given)

    async def keep_history(self) -> None:
        """Store what was counted, and move the budget's threshold; over and over, until cancelled."""
        while True:
            try:
                await asyncio.to_thread(self.history.store)
            except sqlite3.Error as error:
                log("history_not_stored", logging.WARNING, kind=type(error).__name__)
            if self.budget is not None:
                self.budget.update()
            await asyncio.sleep(_STORE_S)

    def cache_owner(self, client: str) -> str:
        """Whose recent decisions a client may be answered from: its own, where several keys exist."""
        return client if self.access.tells_clients_apart else ""

    async def matching_rule(self, exchange: Exchange, payload: Mapping[str, Any]) -> Rule | None:
        """The rule that decides a request; a long one is read in a thread while others are answered."""
        if not self.rules:
            return None
        tags = frozenset(exchange.header_values(b"x-pointsman-tags")) - {""}
        sent = [value for name in FORWARDED for value in exchange.header_values(name)]
        request = RequestText(payload, tags, sent)
        return await self.read(exchange.held_bytes, exchange.client, first_match, self.rules, request)

    def count_decision(
        self, kind: str, target: str, reason: str, answer: Answer | None, text: str | None = None
    ) -> None:
        """Count where something went and why; `answer` is what the model said, if it was asked."""
        self.metrics.decisions.labels(target, reason, kind).inc()
        decision = None if answer is None else answer.decision
        if decision is not None:
            self.metrics.p_cloud.observe(decision.p_cloud)
            self.metrics.confidence.observe(decision.confidence)
            if decision.truncated:
                self.metrics.truncated.inc()
        self.live.decision(kind, target, reason, decision, text)


def build(settings: GatewaySettings) -> Gateway:
    """Put a gateway together; nothing is loaded, opened or contacted yet.

    Raises:
        SettingsError: a key that is weak, missing or unreadable, or a file that cannot be written.
        MissingExtraError: traces are asked for, and OpenTelemetry is not installed.
    """
    metrics = Metrics(CollectorRegistry(), settings.upstreams.currency)
    tracing = make_tracing(settings.server.traces)
    access = _access(settings)
    engine = _engine(settings, metrics, tracing)
    upstreams = Upstreams(settings, metrics)
    history, captures = History(settings.server.history), settings.capture.path is not None
    return Gateway(
        settings=settings,
        engine=engine,
        metrics=metrics,
        access=access,
        live=Live(history, show_text=settings.server.show_text),
        rate=RateLimit(settings.limits.requests_per_s, settings.limits.burst),
        memory=MemoryBudget(settings.limits.memory_bytes),
        upstreams=upstreams,
        rules=compile_rules(settings.routing.rules),
        sticky=Sticky(settings.routing.sticky_ttl_s),
        tracing=tracing,
        history=history,
        budget=_budget(settings, engine, history, metrics),
        capture=Capture(settings.capture, metrics, history, upstreams.secrets()) if captures else None,
    )


def _access(settings: GatewaySettings) -> Access:
    access = load_access(settings.auth)
    if access.by_proxy:
        log(
            "open_to_everybody_who_reaches_it",
            logging.WARNING,
            host=settings.server.host,
            because="auth.by_proxy",
        )
    return access


def _engine(settings: GatewaySettings, metrics: Metrics, tracing: Tracing) -> Engine:
    def second_opinion(mine: Decision, other: Decision) -> None:
        metrics.shadow.labels("agreed" if mine.target == other.target else f"to_{other.target}").inc()

    queue, model = (metrics.phase_s.labels(phase, "") for phase in ("queue", "model"))

    def answered(queued_s: float, run_s: float) -> None:
        queue.observe(queued_s)
        model.observe(run_s)
        tracing.classified(queued_s, run_s)

    engine = Engine(settings, second_opinion, answered)
    metrics.registry.register(EngineCollector(engine))
    return engine


def _budget(settings: GatewaySettings, engine: Engine, history: History, metrics: Metrics) -> Budget | None:
    if settings.routing.budget.amount is None:
        return None
    workers = settings.server.workers
    budget = Budget(settings.routing.budget, history, workers, lambda: engine.policy.effective_threshold)
    metrics.show("budget_spent_money", "Money of the budget's period so far.", lambda: budget.spent)
    metrics.show("budget_threshold", "The budget's threshold now.", lambda: budget.threshold or 0.0)
    return budget
