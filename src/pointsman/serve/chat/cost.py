"""Tokens and money, from what upstreams report, or else an estimate, and the operator's prices."""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from pointsman.serve.chat.plan import Plan
from pointsman.serve.chat.request import ChatRequest
from pointsman.serve.chat.started import StartedResponse
from pointsman.serve.upstream import sse
from pointsman.serve.upstream.upstreams import Upstream
from pointsman.serve.upstream_settings import UpstreamSettings

SHADOW = "shadow"
"""The route of a request that no client sent."""
_BYTES_A_TOKEN = 4
_PACKED = re.compile(r"(?:data:[^,]{0,256},)?[A-Za-z0-9+/_-]{1024}")
"""How a long string begins that is no text: a picture, a sound or a file."""
_TOKENS_PACKED = 1000
"""About what a picture of a megapixel has."""
_SAID = ("choices", "output", "content")
"""Members of a whole answer that hold what the model said."""
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


def tokens_of_answer(request: ChatRequest, started: StartedResponse) -> tuple[Tokens, Tokens]:
    """The tokens that an answer reports, and the same with an estimate of what it does not report."""
    value, is_stream = started.value or {}, started.events is not None
    streamed = usage_of_stream(started.usage, request.dialect.usage_mark)
    reported = tokens_of(streamed if is_stream else value.get("usage"))
    asked, answered = reported.asked or estimated_tokens(request.payload), reported.answered
    if not answered and request.dialect.has_streams:
        answered = started.event_count if is_stream else estimated_tokens([value.get(name) for name in _SAID])
    return reported, Tokens(asked, reported.cached, answered)


def estimated_tokens(value: Any) -> int:
    """Tokens in a JSON value, about: four bytes of text are one, and so is a number."""
    size, left = 0, [value]
    while left:
        one = left.pop()
        if isinstance(one, str):
            is_text = not _PACKED.match(one)
            size += len(one.encode("utf-8", "replace")) if is_text else _TOKENS_PACKED * _BYTES_A_TOKEN
        elif isinstance(one, dict):
            left += (member for name, member in one.items() if name != "logprobs")
        elif isinstance(one, list):
            left += one
        elif isinstance(one, int | float):
            size += _BYTES_A_TOKEN
    return size // _BYTES_A_TOKEN


def count_cost(request: ChatRequest, plan: Plan, started: StartedResponse) -> None:
    """Count tokens and money of an answer, also of one that broke off, and what the cloud would have cost.

    The counters of tokens are of reported ones only.
    """
    if not request.dialect.is_paid:
        return
    gateway, upstream = request.gateway, started.upstream
    reported, tokens = tokens_of_answer(request, started)
    gateway.metrics.tokens.labels(upstream.name, "in").inc(reported.asked)
    gateway.metrics.tokens.labels(upstream.name, "out").inc(reported.answered)
    started.call.used(reported.asked, reported.answered)
    spent = count_spent(request, upstream, tokens, is_estimated=tokens != reported)
    saved = max(0.0, price(gateway.settings.upstreams.cloud, tokens) - spent)
    gateway.metrics.saved.inc(saved)
    gateway.live.saved += saved
    own = {f"{upstream.name}_calls": 1.0, f"{upstream.name}_cost": spent}
    if plan.is_paced and upstream.name == "cloud":
        own |= {"paced_calls": 1.0, "paced_cost": spent}
    gateway.history.count(saved=saved, **own)


def count_unanswered(request: ChatRequest, upstream: Upstream) -> None:
    """Count what a call without an answer may have cost: its request, about. The answer is not known."""
    if request.dialect.is_paid:
        count_spent(request, upstream, Tokens(estimated_tokens(request.payload)), is_estimated=True)


def count_spent(request: ChatRequest, upstream: Upstream, tokens: Tokens, *, is_estimated: bool) -> float:
    """Count the price of a call, and return it."""
    metrics, spent = request.gateway.metrics, price(upstream.settings, tokens)
    metrics.spent.labels(upstream.name).inc(spent)
    if is_estimated:
        metrics.estimated.labels(upstream.name).inc(spent)
        request.exchange.facts["cost"] = "estimated"
    further = {"shadow_cost": spent} if request.exchange.route == SHADOW else {}
    request.gateway.history.count(spent=spent, **further)
    return spent


def usage_of_stream(pieces: Iterable[bytes], mark: bytes) -> dict[str, Any]:
    """What a stream's events say of tokens, the later over the earlier.

    Anthropic's first event counts an answer that is still to come; a stream that is cut has no other count.

    Args:
        pieces: whole events.
        mark: stands in each event that says so.
    """
    usage: dict[str, Any] = {}
    for value in (value for piece in pieces for value in sse.values(piece, mark)):
        for name in ("message", "response", ""):
            holder = value.get(name) if name else value
            said = holder.get("usage") if isinstance(holder, dict) else None
            if isinstance(said, dict):
                left_out = "output_tokens" if name == "message" else ""
                usage |= {key: count for key, count in said.items() if count is not None and key != left_out}
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
