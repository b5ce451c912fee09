"""One chat on its way: what was asked, where it goes, until when, and what has become of it so far."""

from dataclasses import dataclass
from typing import Any

from pointsman.serve.chat.dialects import Dialect
from pointsman.serve.chat.plan import Plan
from pointsman.serve.edge.http import Exchange
from pointsman.serve.gateway import Gateway
from pointsman.serve.upstream.upstreams import Upstream


@dataclass(slots=True)
class ChatContext:
    """One chat.

    Attributes:
        dialect: the protocol it was asked in.
        payload: the request, as it came.
        deadline: `time.monotonic()` at which it ends.
        served: the upstream that answers; None as long as none does.
        fallback: why another upstream than the plan's has to answer; None as long as none has to.
        is_hedged: both upstreams were asked at once.
        method: POST, or GET or DELETE of what an upstream keeps.
        is_cut: the gateway is shutting down and the grace period expired.
    """

    gateway: Gateway
    exchange: Exchange
    dialect: Dialect
    payload: dict[str, Any]
    plan: Plan
    deadline: float
    served: str | None = None
    fallback: str | None = None
    is_hedged: bool = False
    is_cut: bool = False
    method: str = "POST"

    def upstream(self, target: str) -> Upstream | None:
        """The upstream of a target, where there is one and it speaks this dialect."""
        found = self.gateway.upstreams.get(target)
        return found if found is not None and found.settings.api in self.dialect.apis else None
