"""Which words carried a decision: the same text without each of them, decided again."""

import re
from typing import Any

from pointsman.decision import Reason
from pointsman.errors import EmptyTextError
from pointsman.runtime.probability import log_odds
from pointsman.serve.edge.http import Exchange
from pointsman.serve.failures import GatewayError
from pointsman.serve.gateway import Gateway

MAX_WORDS = 31
_WORD = re.compile(r"\S+")


async def explain(gateway: Gateway, exchange: Exchange) -> None:
    """`POST /explain`: `{"query"}` to the decision and, per word, what it adds to the log-odds of cloud."""
    limits = gateway.settings.limits
    payload = await gateway.text_payload(exchange)
    query = payload.get("query")
    if not isinstance(query, str):
        raise GatewayError("invalid_request", 'expected {"query": text}')
    spans = [match.span() for match in _WORD.finditer(query)][:MAX_WORDS]
    without = [query[:start] + query[end:] for start, end in spans]
    if sum(map(len, without)) > limits.batch_chars:
        raise GatewayError("batch_too_large", "the text is too long to be explained")
    owner = gateway.cache_owner(exchange.client)
    answers = await gateway.engine.decide([query], owner=owner)
    decision = answers[0].decision
    if decision.reason is Reason.EMPTY_TEXT:
        raise EmptyTextError("there is nothing to read in the text")
    odds = float(log_odds(decision.p_cloud))
    # Not one batch: a visitor's explanation must not push aside the work that is waiting.
    words: list[dict[str, Any]] = []
    for (start, end), text in zip(spans, without, strict=True):
        other = (await gateway.engine.decide([text], owner=owner))[0].decision
        weight = 0.0 if other.reason is Reason.EMPTY_TEXT else odds - float(log_odds(other.p_cloud))
        words.append({"start": start, "end": end, "weight": round(weight, 6)})
    await exchange.respond_json({**decision.to_dict(), "version": answers[0].version, "words": words})
