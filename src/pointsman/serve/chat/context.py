"""One chat on its way: what was asked, where it goes, until when, and what has become of it so far."""

from dataclasses import dataclass
from typing import Any

from pointsman.serve.chat.plan import Plan
from pointsman.serve.edge.http import Exchange
from pointsman.serve.gateway import Gateway


@dataclass(slots=True)
class ChatContext:
    """One chat.

    Attributes:
        path: after an upstream's base address, for example `/chat/completions`.
        payload: the request, as it came.
        deadline: `time.monotonic()` at which it ends.
        fallback: why another upstream than the plan's has to answer; None as long as none has to.
        is_hedged: both upstreams were asked at once.
        is_cut: the gateway is shutting down and the grace period expired.
    """

    gateway: Gateway
    exchange: Exchange
    path: str
    payload: dict[str, Any]
    plan: Plan
    deadline: float
    fallback: str | None = None
    is_hedged: bool = False
    is_cut: bool = False
