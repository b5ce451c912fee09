"""The routes of decision models: a state and typed questions in, a probability for every option out.

`/v1/systemone` and `/v1/decisions` let other gateways ask this one for their decision. One kind of question
has an answer here: a choice between `local` and `cloud`, or between the bands of `p_cloud` that the settings
name. Any other question is refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pointsman.decision import UNREAD
from pointsman.labels import CLOUD, LOCAL
from pointsman.runtime.chat import text_of_messages
from pointsman.serve.classification.classify import decide_texts, decision_headers
from pointsman.serve.edge.http import Exchange
from pointsman.serve.failures import GatewayError
from pointsman.serve.gateway import Gateway
from pointsman.serve.inference.engine import Answer

_QUESTIONS = 64
_USAGE = {"cached_tokens": 0, "cache_write_tokens": 0}


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the gateway would do with a state.

    Attributes:
        answer: the model's.
        forced: `local` or `cloud` where a rule, or a text that cannot be read, decides instead of the model.
    """

    answer: Answer
    forced: str | None

    @property
    def target(self) -> str:
        """`local` or `cloud`: what the served policy says."""
        return self.forced or self.answer.decision.target

    @property
    def p_cloud(self) -> float:
        """Probability of `cloud`, 0..1; 0 or 1 where it is forced."""
        if self.forced is None:
            return self.answer.decision.p_cloud
        return float(self.forced == CLOUD)


@dataclass(frozen=True, slots=True)
class Choice:
    """The answer to one question.

    Attributes:
        option: one of the options asked for, in its own spelling.
        probabilities: option to probability, in the order asked; they sum to 1.
    """

    option: str
    probabilities: dict[str, float]

    @property
    def confidence(self) -> float:
        """0 where all options are alike, 1 where one has all of the probability."""
        even = 1 / len(self.probabilities)
        return round((max(self.probabilities.values()) - even) / (1 - even), 6)


async def systemone(gateway: Gateway, exchange: Exchange) -> None:
    """`/v1/systemone`: `{"state", "questions": {name: {"type": "choice", "criteria": {option: …}}}}`."""
    payload = await gateway.text_payload(exchange)
    questions = payload.get("questions")
    if not isinstance(questions, dict) or not 1 <= len(questions) <= _QUESTIONS:
        raise GatewayError(
            "invalid_request", f"questions: expected an object with 1 to {_QUESTIONS} questions"
        )
    judged = await _judge(gateway, exchange, payload.get("state"))
    answers = {}
    for name, question in questions.items():
        criteria = question.get("criteria") if _is_choice(question) else None
        options = list(criteria) if isinstance(criteria, dict) else []
        choice = choose(options, judged, gateway.settings.decisions.bands)
        if choice is None:
            raise GatewayError("invalid_request", _refusal(gateway))
        answers[name] = {
            "type": "choice",
            "choice": choice.option,
            "probabilities": choice.probabilities,
            "confidence": choice.confidence,
        }
    usage = {"input_tokens": judged.answer.decision.tokens, "output_tokens": 0}
    await _respond(gateway, exchange, judged, {"answers": answers, "usage": usage})


async def decisions(gateway: Gateway, exchange: Exchange) -> None:
    """`/v1/decisions`: OpenAI's `{"input", "questions": [{"type": "choice", "choices": [{"value": …}]}]}`."""
    payload = await gateway.text_payload(exchange)
    questions = payload.get("questions")
    if not isinstance(questions, list) or not 1 <= len(questions) <= _QUESTIONS:
        raise GatewayError("invalid_request", f"questions: expected a list of 1 to {_QUESTIONS} questions")
    judged = await _judge(gateway, exchange, payload.get("input"))
    answers = [_listed(question, judged, gateway.settings.decisions.bands) for question in questions]
    tokens = judged.answer.decision.tokens
    usage = {
        "input_tokens": tokens,
        "input_tokens_details": _USAGE,
        "output_tokens": 0,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": tokens,
    }
    await _respond(gateway, exchange, judged, {"answers": answers, "usage": usage})


def choose(options: Sequence[str], judged: Judgement, bands: Mapping[str, float]) -> Choice | None:
    """Answer a choice between these options; None where they are neither the targets nor the bands.

    The option between `local` and `cloud` is the served target. A band is the one that holds `p_cloud`; on
    its way from the middle of one band to the middle of the next, its probability passes to that one.

    Args:
        options: names in any order and letter case.
        judged: what the gateway would do.
        bands: name of each band to its upper edge of p_cloud, rising, the last 1.0.
    """
    spelled = {option.casefold(): option for option in options}
    if len(spelled) != len(options):
        return None
    if spelled.keys() == {LOCAL, CLOUD}:
        shares = {LOCAL: 1.0 - judged.p_cloud, CLOUD: judged.p_cloud}
        chosen = judged.target
    elif bands and spelled.keys() == {name.casefold() for name in bands}:
        in_order = band_shares(judged.p_cloud, list(bands.values()))
        shares = {name.casefold(): share for name, share in zip(bands, in_order, strict=True)}
        chosen = list(shares)[band_of(judged.p_cloud, list(bands.values()))]
    else:
        return None
    return Choice(spelled[chosen], {option: round(shares[option.casefold()], 6) for option in options})


def band_of(p_cloud: float, edges: Sequence[float]) -> int:
    """Index of the band that holds `p_cloud`; an edge belongs to the band above it."""
    return next((index for index, edge in enumerate(edges) if p_cloud < edge), len(edges) - 1)


def band_shares(p_cloud: float, edges: Sequence[float]) -> list[float]:
    """Share of each band at `p_cloud`: 1 in its middle, one half at its edges, 0 beyond the next middle.

    Args:
        p_cloud: 0..1.
        edges: upper edge of each band, rising, the last 1.0.
    """
    lows = [0.0, *edges[:-1]]
    own = band_of(p_cloud, edges)
    low, high = lows[own], edges[own]
    middle = (low + high) / 2
    shares = [0.0] * len(edges)
    other = own + 1 if p_cloud >= middle else own - 1
    if not 0 <= other < len(edges):
        shares[own] = 1.0
        return shares
    shares[other] = 0.5 * abs(p_cloud - middle) / (high - middle)
    shares[own] = 1.0 - shares[other]
    return shares


def state_text(state: Any, gateway: Gateway) -> str:
    """The text that is judged: a string or messages as a chat's are read, or all strings of an object.

    Raises:
        GatewayError: `invalid_request` where there is no text, or a part that is no text.
    """
    if isinstance(state, str):
        state = [{"role": "user", "content": state}]
    if isinstance(state, dict) and isinstance(state.get("messages"), list):
        state = state["messages"]
    if isinstance(state, list) and state and all(isinstance(one, dict) and "content" in one for one in state):
        if any(_has_other_parts(message["content"]) for message in state):
            raise GatewayError("invalid_request", "only text is read: expected parts of type input_text")
        return text_of_messages(
            [{"role": "user", **message} for message in state], gateway.engine.current.router.manifest.chat
        )
    if isinstance(state, dict | list):
        return "\n".join(_strings(state))
    raise GatewayError("invalid_request", "expected the text to judge: a string, messages or an object")


async def _judge(gateway: Gateway, exchange: Exchange, state: Any) -> Judgement:
    answer = (await decide_texts(gateway, exchange, [state_text(state, gateway)]))[0]
    forced = answer.decision.target if answer.decision.reason in UNREAD else None
    rule = await gateway.matching_rule(exchange, {"input": state})
    if rule is not None:
        forced = rule.send.removesuffix("-only")
    return Judgement(answer, forced)


async def _respond(gateway: Gateway, exchange: Exchange, judged: Judgement, body: dict[str, Any]) -> None:
    name = gateway.engine.current.router.manifest.name
    await exchange.respond_json({"model": name, **body}, headers=decision_headers(judged.answer))


def _listed(question: Any, judged: Judgement, bands: Mapping[str, float]) -> dict[str, Any]:
    """One answer of `/v1/decisions`; a question that has none here is refused by itself."""
    if not isinstance(question, dict) or not isinstance(question.get("type"), str):
        raise GatewayError("invalid_request", "questions: expected objects with a type")
    name = question.get("name")
    choices = question.get("choices") if _is_choice(question) else None
    choices = choices if isinstance(choices, list) else []
    values = [one.get("value") if isinstance(one, dict) else None for one in choices]
    named = [value for value in values if isinstance(value, str)]
    choice = choose(named, judged, bands) if len(named) == len(values) else None
    if choice is None:
        return {"type": "refusal", "name": name}
    return {
        "type": "choice",
        "name": name,
        "choice": choice.option,
        "probabilities": [
            {"value": option, "probability": share} for option, share in choice.probabilities.items()
        ],
        "confidence": choice.confidence,
    }


def _refusal(gateway: Gateway) -> str:
    bands = gateway.settings.decisions.bands
    named = (
        f", or of {', '.join(bands)}"
        if bands
        else "; name bands of p_cloud in decisions.bands to ask for others"
    )
    return f"this model answers questions of type choice whose criteria are exactly local and cloud{named}"


def _is_choice(question: Any) -> bool:
    return isinstance(question, dict) and question.get("type") == "choice"


def _has_other_parts(content: Any) -> bool:
    parts = content if isinstance(content, list) else []
    return any(not isinstance(part, dict) or part.get("type") not in ("input_text", "text") for part in parts)


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for item in inside for text in _strings(item)]
