"""Tokens and money, from what upstreams report and the operator's prices."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from pointsman.serve.chat.attempt import StartedResponse
from pointsman.serve.chat.plan import Plan
from pointsman.serve.chat.request import ChatRequest
from pointsman.serve.upstream import sse
from pointsman.serve.upstream_settings import UpstreamSettings

_BYTES_A_TOKEN = 4
_CREATED, _READ = "cache_creation_input_tokens", "cache_read_input_tokens"


class Tokens(NamedTuple):
    """Of one call: of the request, those of them that came from a cache, and of the answer."""

    asked: int = 0
    cached: int = 0
    answered: int = 0


def tokens_of(usage: Any) -> Tokens:
    """What an answer's `usage` member says, in the words of any dialect; zeros for anything else.

    Anthropic counts apart what it took from its cache or put there; here both are of the request.
    """
    if not isinstance(usage, dict):
        return Tokens()
    asked = _count(usage, "prompt_tokens", "input_tokens")
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
    cached = _count(details, "cached_tokens") if isinstance(details, dict) else 0
    if "prompt_tokens" not in usage:
        cached += _count(usage, _READ)
        asked += _count(usage, _READ) + _count(usage, _CREATED)
    return Tokens(asked, min(asked, cached), _count(usage, "completion_tokens", "output_tokens"))


def count_cost(request: ChatRequest, plan: Plan, started: StartedResponse) -> None:
    """Count tokens and money of an answer, also of one that broke off, and what the cloud would have cost.

    Most streams of OpenAI's protocol say nothing of tokens. Their price is taken for one token an event, and
    one for four bytes of the request; the counters of tokens are of reported ones only.
    """
    gateway, upstream = request.gateway, started.upstream
    if started.value is not None:
        usage = started.value.get("usage")
    else:
        usage = usage_of_stream(started.usage, request.dialect.usage_mark)
    tokens = tokens_of(usage)
    if any(tokens):
        gateway.metrics.tokens.labels(upstream.name, "in").inc(tokens.asked)
        gateway.metrics.tokens.labels(upstream.name, "out").inc(tokens.answered)
        started.call.used(tokens.asked, tokens.answered)
    elif started.events is not None:
        tokens = Tokens(started.asked_bytes // _BYTES_A_TOKEN, 0, started.event_count)
    spent = price(upstream.settings, tokens)
    saved = max(0.0, price(gateway.settings.upstreams.cloud, tokens) - spent)
    gateway.metrics.spent.labels(upstream.name).inc(spent)
    gateway.metrics.saved.inc(saved)
    gateway.live.saved += saved
    own = {f"{upstream.name}_calls": 1.0, f"{upstream.name}_cost": spent}
    if plan.is_paced and upstream.name == "cloud":
        own |= {"paced_calls": 1.0, "paced_cost": spent}
    gateway.history.count(spent=spent, saved=saved, **own)


def usage_of_stream(pieces: Iterable[bytes], mark: bytes) -> dict[str, Any]:
    """What a stream's events say of tokens, the later over the earlier.

    Args:
        pieces: whole events.
        mark: stands in each event that says so.
    """
    usage: dict[str, Any] = {}
    for value in (value for piece in pieces for value in sse.values(piece, mark)):
        for holder in (value, value.get("message"), value.get("response")):
            said = holder.get("usage") if isinstance(holder, dict) else None
            if isinstance(said, dict):
                usage |= {name: count for name, count in said.items() if count is not None}
    return usage


def price(settings: UpstreamSettings | None, tokens: Tokens) -> float:
    """Cost of a number of tokens there, in the operator's currency."""
    if settings is None:
        return 0.0
    cached = settings.price_in if settings.price_cached is None else settings.price_cached
    fresh = tokens.asked - tokens.cached
    return (fresh * settings.price_in + tokens.cached * cached + tokens.answered * settings.price_out) / 1e6


def _count(usage: dict[str, Any], *names: str) -> int:
    for name in names:
        value = usage.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 10**9:
            return int(value)
    return 0
