"""Tokens and money, from what upstreams report and the operator's prices."""

from collections.abc import Iterable
from typing import Any

from pointsman.serve.gateway import Gateway
from pointsman.serve.settings import UpstreamSettings
from pointsman.serve.upstream import sse

_CACHED = ("cache_creation_input_tokens", "cache_read_input_tokens")


def account_usage(gateway: Gateway, upstream: str, usage: Any) -> tuple[int, int]:
    """Count an answer's tokens, what it cost, and what the cloud would have cost instead.

    Args:
        upstream: who answered.
        usage: the answer's `usage` member, in the words of any dialect; anything else is ignored. Anthropic
            counts apart what it took from its cache or put there; here that is input like other input.

    Returns:
        The tokens of the request and of the answer; 0 where that is not said.
    """
    if not isinstance(usage, dict):
        return 0, 0
    tokens_in = _count(usage, "prompt_tokens", "input_tokens")
    if "prompt_tokens" not in usage:
        tokens_in += sum(_count(usage, name) for name in _CACHED)
    tokens_out = _count(usage, "completion_tokens", "output_tokens")
    gateway.metrics.tokens.labels(upstream, "in").inc(tokens_in)
    gateway.metrics.tokens.labels(upstream, "out").inc(tokens_out)
    upstreams = gateway.settings.upstreams
    spent = price(upstreams.local if upstream == "local" else upstreams.cloud, tokens_in, tokens_out)
    saved = price(upstreams.cloud, tokens_in, tokens_out) - spent
    gateway.metrics.spent.labels(upstream).inc(spent)
    if saved > 0:
        gateway.metrics.saved.inc(saved)
        gateway.live.saved += saved
    return tokens_in, tokens_out


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


def price(settings: UpstreamSettings | None, tokens_in: int, tokens_out: int) -> float:
    """Cost of a number of tokens there, in the operator's currency."""
    if settings is None:
        return 0.0
    return (tokens_in * settings.price_in + tokens_out * settings.price_out) / 1e6


def _count(usage: dict[str, Any], *names: str) -> int:
    for name in names:
        value = usage.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9:
            return value
    return 0
