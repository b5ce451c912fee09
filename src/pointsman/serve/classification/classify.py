"""The classification routes: one question in the words of seven clients.

The guide's `/predict`, TEI, vLLM, SGLang, Infinity and semantic-router's HTTP classifier share two paths; the
body's keys tell them apart: `query`, `inputs` or `input`. Azure ML's `/score` takes all of them.
"""

import secrets
import time
from collections.abc import Sequence
from typing import Any

from pointsman.decision import Reason
from pointsman.errors import EmptyTextError
from pointsman.serve.edge.http import ClientGone, Exchange
from pointsman.serve.edge.strict_json import checked_share
from pointsman.serve.failures import GatewayError
from pointsman.serve.gateway import Gateway
from pointsman.serve.inference.engine import Answer

_TEI_PAIR = 2


async def predict(gateway: Gateway, exchange: Exchange) -> None:
    """`/predict`: `?query=`, `{"query"}`, or TEI's `{"inputs"}`."""
    payload = await _payload(gateway, exchange)
    if "queries" in payload and payload.keys().isdisjoint(_SHAPES):
        payload = {"query": payload["queries"]}
    expected = 'expected {"query": text or list of texts}, or ?query='
    await _answer(gateway, exchange, payload, ("query", "inputs", "input"), expected)


async def classify(gateway: Gateway, exchange: Exchange) -> None:
    """`/classify`: `{"input"}` as vLLM, SGLang and Infinity, `{"inputs"}` flat, as semantic-router."""
    payload = await _payload(gateway, exchange)
    if isinstance(payload.get("inputs"), str):
        await _answer_flat(gateway, exchange, payload["inputs"])
        return
    expected = 'expected {"input": text or list of texts}'
    await _answer(gateway, exchange, payload, ("inputs", "input", "query"), expected)


async def pipeline(gateway: Gateway, exchange: Exchange) -> None:
    """`POST /`: `{"inputs"}` as huggingface_hub's client asks, answered with one list of scores a text."""
    payload = await _payload(gateway, exchange)
    if "inputs" not in payload:
        raise GatewayError("invalid_request", 'expected {"inputs": text or list of texts}')
    answers = await decide_texts(gateway, exchange, texts_of(payload["inputs"]))
    await exchange.respond_json([_scores(answer) for answer in answers])


async def score(gateway: Gateway, exchange: Exchange) -> None:
    """`/score` and `/invocations`: any of the shapes, also in Azure ML's `{"input_data"}` or `{"data"}`."""
    payload = await _payload(gateway, exchange)
    for name in ("input_data", "data", "queries"):
        if name in payload:
            payload = {"query": payload[name]}
            break
    if isinstance(payload.get("query"), dict):
        payload = payload["query"]
    expected = 'expected {"query": text or list of texts}'
    await _answer(gateway, exchange, payload, ("inputs", "input", "query"), expected)


async def info(gateway: Gateway, exchange: Exchange) -> None:
    """`/info`: what is loaded, with TEI's names where they fit."""
    model = gateway.engine.current
    manifest, limits = model.router.manifest, gateway.settings.limits
    labels = {str(index): name for index, name in enumerate(manifest.labels.names)}
    await exchange.respond_json(
        {
            "model_id": manifest.name,
            "model_sha": manifest.id,
            "model_dtype": model.router.variant,
            "model_type": {
                "classifier": {"id2label": labels, "label2id": {name: int(i) for i, name in labels.items()}}
            },
            "max_input_length": manifest.limits.max_tokens,
            "max_client_batch_size": limits.batch,
            "max_concurrent_requests": limits.queue,
            "auto_truncate": True,
            "version": model.version,
            "threads": gateway.engine.batcher.threads,
            "policy": policy_of(gateway),
        }
    )


def policy_of(gateway: Gateway) -> dict[str, Any]:
    """The thresholds that hold now."""
    policy = gateway.engine.current.router.policy
    return {
        "effective_threshold": policy.effective_threshold,
        "cloud_threshold": policy.cloud_threshold,
        "confidence_threshold": policy.confidence_threshold,
        "safe_target": policy.safe_target,
    }


async def decide_texts(gateway: Gateway, exchange: Exchange, texts: Sequence[str]) -> list[Answer]:
    """Decide the texts of one request, count them, and refuse those without anything to read.

    Raises:
        GatewayError: `batch_too_large`, `invalid_request`, `overloaded`, `queue_timeout`, `draining`.
        EmptyTextError: a text without a single token.
    """
    limits = gateway.settings.limits
    if not texts:
        raise GatewayError("invalid_request", "expected at least one text")
    if len(texts) > limits.batch or sum(map(len, texts)) > limits.batch_chars:
        message = f"at most {limits.batch} texts with {limits.batch_chars} characters together"
        raise GatewayError("batch_too_large", message)
    exchange.is_work = True
    with gateway.tracing.decision() as span:
        owner = gateway.cache_owner(exchange.client)
        answers = await gateway.engine.decide(texts, is_wanted=exchange.is_wanted, owner=owner)
        if not exchange.is_wanted():
            raise ClientGone
        first = answers[0]
        span.say(texts=len(texts), target=first.decision.target, reason=first.decision.reason.value)
        span.say(**first.trace_facts())
    for text, answer in zip(texts, answers, strict=True):
        if answer.decision.reason is Reason.EMPTY_TEXT:
            raise EmptyTextError("there is nothing to read in the text")
        gateway.count_decision("classify", answer.decision.target, answer.decision.reason.value, answer, text)
    exchange.facts["texts"] = len(texts)
    exchange.facts["target"] = answers[0].decision.target
    return answers


def decision_headers(answer: Answer) -> list[tuple[bytes, bytes]]:
    """The decision as headers."""
    decision = answer.decision
    return [
        (b"x-pointsman-target", decision.target.encode()),
        (b"x-pointsman-confidence", f"{decision.confidence:.4f}".encode()),
        (b"x-pointsman-reason", decision.reason.value.encode()),
        (b"x-pointsman-version", answer.version.encode()),
    ]


def texts_of(value: Any) -> list[str]:
    """A text or a list of texts.

    Raises:
        GatewayError: `invalid_request`.
    """
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value
    raise GatewayError("invalid_request", "expected a text or a list of texts")


async def _payload(gateway: Gateway, exchange: Exchange) -> dict[str, Any]:
    """The body, an object; a bare string or list of strings is a query; without a body the query string."""
    body = await gateway.text_body(exchange)
    if not body.strip():
        return dict(exchange.query())
    value = await gateway.read_json(body)
    if isinstance(value, str | list):
        return {"query": value}
    if not isinstance(value, dict):
        raise GatewayError("invalid_request", "the body must be a JSON object")
    return value


async def _answer_query(gateway: Gateway, exchange: Exchange, payload: dict[str, Any]) -> None:
    query, threshold = payload["query"], payload.get("threshold")
    if threshold is not None:
        checked_share(threshold, "threshold")
    answers = await decide_texts(gateway, exchange, texts_of(query))
    if threshold is not None:
        answers = [
            Answer(gateway.engine.with_threshold(answer.decision, threshold), answer.version)
            for answer in answers
        ]
    if isinstance(query, str):
        await exchange.respond_json(_plain(answers[0]), headers=decision_headers(answers[0]))
    else:
        await exchange.respond_json({"predictions": [_plain(answer) for answer in answers]})


def _plain(answer: Answer) -> dict[str, Any]:
    return {**answer.decision.to_dict(), "version": answer.version}


def _scores(answer: Answer) -> list[dict[str, Any]]:
    """Every label with its probability, the more probable first."""
    p_cloud = answer.decision.p_cloud
    scores = [{"label": "cloud", "score": p_cloud}, {"label": "local", "score": 1.0 - p_cloud}]
    return scores if p_cloud >= 0.5 else scores[::-1]


async def _answer_flat(gateway: Gateway, exchange: Exchange, text: str) -> None:
    """One text: its scores, without a list around them."""
    answer = (await decide_texts(gateway, exchange, [text]))[0]
    await exchange.respond_json(_scores(answer), headers=decision_headers(answer))


async def _answer_tei(gateway: Gateway, exchange: Exchange, payload: dict[str, Any]) -> None:
    """TEI: a text, or `[["a"], ["b"]]` for a batch; `["a", "b"]` is a pair, for which a router has no use."""
    inputs = payload["inputs"]
    if payload.get("raw_scores") is True:
        raise GatewayError("invalid_request", "raw_scores: only probabilities are given here")
    if isinstance(inputs, str):
        await _answer_flat(gateway, exchange, inputs)
        return
    if not isinstance(inputs, list):
        raise GatewayError("invalid_request", "inputs: expected a text or a list")
    if len(inputs) == _TEI_PAIR and all(isinstance(item, str) for item in inputs):
        raise GatewayError("invalid_request", 'inputs: two texts are a pair; a batch is [["a"], ["b"]]')
    texts = [item[0] if isinstance(item, list) and len(item) == 1 else item for item in inputs]
    answers = await decide_texts(gateway, exchange, texts_of(texts))
    await exchange.respond_json([_scores(answer) for answer in answers])


async def _answer_vllm(gateway: Gateway, exchange: Exchange, payload: dict[str, Any]) -> None:
    """vLLM and SGLang; with `raw_scores` or on Infinity's word, Infinity's lists of labels."""
    answers = await decide_texts(gateway, exchange, texts_of(payload["input"]))
    names = gateway.engine.current.router.labels.names
    tokens = sum(answer.decision.tokens for answer in answers)
    head = {
        "id": f"classify-{secrets.token_hex(8)}",
        "created": int(time.time()),
        "model": gateway.engine.current.router.manifest.name,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    if "raw_scores" in payload:
        data: list[Any] = [_scores(answer) for answer in answers]
        await exchange.respond_json({"object": "classify", "data": data, **head})
        return
    data = [
        {
            "index": index,
            "label": answer.decision.label,
            "probs": [_probability(answer, name) for name in names],
            "num_classes": len(names),
        }
        for index, answer in enumerate(answers)
    ]
    await exchange.respond_json({"object": "list", "data": data, **head})


_SHAPES = {"query": _answer_query, "inputs": _answer_tei, "input": _answer_vllm}
"""The key that tells a shape from the others, and who answers it."""


async def _answer(
    gateway: Gateway, exchange: Exchange, payload: dict[str, Any], keys: Sequence[str], expected: str
) -> None:
    """Answer in the shape of the first of `keys` that the body has."""
    for key in keys:
        if key in payload:
            await _SHAPES[key](gateway, exchange, payload)
            return
    raise GatewayError("invalid_request", expected)


def _probability(answer: Answer, label: str) -> float:
    p_cloud = answer.decision.p_cloud
    return p_cloud if label == "cloud" else 1.0 - p_cloud
