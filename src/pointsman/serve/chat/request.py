"""What a chat asks: its protocol, its body, until when it may last, and what its headers wish for."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from pointsman.serve.chat.dialects import Dialect
from pointsman.serve.edge.http import Exchange
from pointsman.serve.failures import GatewayError
from pointsman.serve.gateway import Gateway
from pointsman.serve.upstream.upstreams import Upstream

T = TypeVar("T")
_HINTS = ("local-only", "cloud-only", "auto")
"""The strictest first."""
_FORBIDDEN = frozenset(
    {"api_base", "base_url", "api_key", "api_type", "api_version", "azure_endpoint", "custom_llm_provider"}
)
_NESTED = ("extra_body", "metadata", "litellm_params", "extra_headers")
NO_UPSTREAM = "no upstream is configured for this target; set upstreams.local and .cloud"


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One client's chat.

    Attributes:
        dialect: the protocol it is asked in.
        payload: the body, as it came; only read.
        deadline: `time.monotonic()` at which its answer ends.
        hint: `local-only`, `cloud-only` or `auto`: its policy, as its headers say.
        method: that the upstream is asked with: POST, or GET or DELETE of what it keeps.
    """

    gateway: Gateway
    exchange: Exchange
    dialect: Dialect
    payload: dict[str, Any]
    deadline: float
    hint: str = "auto"
    method: str = "POST"

    @classmethod
    async def receive(cls, gateway: Gateway, exchange: Exchange, dialect: Dialect) -> Self:
        """Read one.

        Raises:
            GatewayError: a body, a header or a parameter that is not taken; no upstream is configured.
        """
        payload = await gateway.chat_payload(exchange)
        if not gateway.upstreams:
            raise GatewayError("no_upstream", NO_UPSTREAM)
        deadline, hint = deadline_of(gateway, exchange), policy_hint(exchange)
        request = cls(gateway, exchange, dialect, payload, deadline, hint)
        request.check_parameters()
        return request

    @property
    def is_stream(self) -> bool:
        """Whether it asks for a stream; to begin an answer early is to say that it is one."""
        return self.dialect.has_streams and self.payload.get("stream") is True

    def upstream(self, target: str) -> Upstream | None:
        """The upstream of a target, where there is one and it speaks this dialect."""
        found = self.gateway.upstreams.get(target)
        return found if found is not None and found.settings.api in self.dialect.apis else None

    async def read(self, work: Callable[..., T], *given: Any) -> T:
        """Do what grows with the request; in a thread where that is long."""
        return await self.gateway.read(self.exchange.held_bytes, self.exchange.client, work, *given)

    def check_parameters(self) -> None:
        """Refuse what would name an upstream or a secret: upstreams come from the configuration only.

        Raises:
            GatewayError: `forbidden_parameter`.
        """
        nested = (self.payload.get(name) for name in _NESTED)
        for place in (self.payload, self.exchange.query(), *nested):
            if isinstance(place, Mapping) and not _FORBIDDEN.isdisjoint(place):
                raise GatewayError("forbidden_parameter", "upstreams and keys are set by the operator only")


def deadline_of(gateway: Gateway, exchange: Exchange) -> float:
    """`time.monotonic()` at which the whole chat ends: before the operator's where the client says so."""
    most = gateway.settings.limits.deadline_s
    asked = exchange.header(b"x-pointsman-deadline-ms")
    if asked is None:
        return time.monotonic() + most
    if not asked.isdecimal() or len(asked) > 9 or int(asked) == 0:
        raise GatewayError("invalid_request", "x-pointsman-deadline-ms: expected whole milliseconds")
    return time.monotonic() + min(most, int(asked) / 1000)


def policy_hint(exchange: Exchange) -> str:
    """The strictest of the headers `x-pointsman-policy`; `auto` without any.

    Raises:
        GatewayError: `invalid_request` for any other value.
    """
    hints = {value.lower() for value in exchange.header_values(b"x-pointsman-policy")}
    if not hints <= set(_HINTS):
        raise GatewayError("invalid_request", f"x-pointsman-policy: expected one of {sorted(_HINTS)}")
    return next((hint for hint in _HINTS if hint in hints), "auto")
