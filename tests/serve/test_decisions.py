"""Decision models as a protocol: choices that the router can answer are answered, all others are refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import OpenAI
from tests.support.running import Running, running, settings_for
from tests.support.tiny_artifact import CLOUD_TEXT, LOCAL_TEXT

from pointsman.errors import SettingsError
from pointsman.serve.classification.decisions import band_of, band_shares
from pointsman.serve.settings import GatewaySettings

BANDS = {"simple": 0.25, "medium": 0.5, "complex": 1.0}
TIERS = {"SIMPLE": "greetings", "COMPLEX": "hard", "MEDIUM": None}
TARGETS = {"local": "a small model is enough", "cloud": None}


def asked(state: Any, criteria: Any = TARGETS, **fields: Any) -> dict[str, Any]:
    question = {"type": "choice", "instructions": "Which model?", "criteria": criteria}
    return {"model": "any", "state": state, "questions": {"tier": question}, **fields}


@pytest.fixture(scope="module")
def gateway(artifact: Path) -> Any:
    with running(settings_for(artifact, decisions={"bands": BANDS})) as made:
        yield made


edges = st.lists(st.floats(0.01, 0.99), min_size=1, max_size=6, unique=True).map(lambda e: [*sorted(e), 1.0])


@given(st.floats(0.0, 1.0), edges)
def test_shares_sum_to_one_and_the_largest_is_the_band_that_holds_it(
    p_cloud: float, edges: list[float]
) -> None:
    shares = band_shares(p_cloud, edges)
    assert sum(shares) == pytest.approx(1.0)
    assert min(shares) >= 0.0
    assert shares[band_of(p_cloud, edges)] == pytest.approx(max(shares))


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0), edges)
def test_a_higher_p_cloud_never_means_a_lower_band(first: float, second: float, edges: list[float]) -> None:
    def level(p_cloud: float) -> float:
        return sum(index * share for index, share in enumerate(band_shares(p_cloud, edges)))

    low, high = sorted((first, second))
    assert level(low) <= level(high) + 1e-9


class TestSystemOne:
    @pytest.mark.parametrize(("state", "target"), [(LOCAL_TEXT, "local"), (CLOUD_TEXT, "cloud")])
    def test_a_choice_of_targets_is_the_served_decision(
        self, gateway: Running, state: str, target: str
    ) -> None:
        found = gateway.http.post("/v1/systemone", json=asked(state))
        answer = found.json()["answers"]["tier"]
        p_cloud = gateway.http.post("/predict", json={"query": state}).json()["p_cloud"]
        assert (answer["type"], answer["choice"]) == ("choice", target)
        assert answer["probabilities"] == pytest.approx({"local": 1 - p_cloud, "cloud": p_cloud}, abs=1e-5)
        assert 0.0 <= answer["confidence"] <= 1.0
        assert found.json()["usage"] == {
            "input_tokens": gateway.http.post("/predict", json={"query": state}).json()["tokens"],
            "output_tokens": 0,
        }
        assert found.headers["x-pointsman-target"] == target

    def test_a_choice_of_bands_keeps_the_askers_spelling(self, gateway: Running) -> None:
        easy = gateway.http.post("/v1/systemone", json=asked(LOCAL_TEXT, TIERS)).json()["answers"]["tier"]
        hard = gateway.http.post("/v1/systemone", json=asked(CLOUD_TEXT, TIERS)).json()["answers"]["tier"]
        assert (easy["choice"], hard["choice"]) == ("SIMPLE", "COMPLEX")
        assert list(easy["probabilities"]) == list(TIERS)
        assert sum(easy["probabilities"].values()) == pytest.approx(1.0)

    @pytest.mark.parametrize(
        "state",
        [
            {"user_request": CLOUD_TEXT},
            {"messages": [{"role": "user", "content": CLOUD_TEXT}]},
            [{"role": "user", "content": [{"type": "text", "text": CLOUD_TEXT}]}],
            [CLOUD_TEXT],
        ],
    )
    def test_a_state_may_be_messages_or_any_object(self, gateway: Running, state: Any) -> None:
        found = gateway.http.post("/v1/systemone", json=asked(state))
        assert found.json()["answers"]["tier"]["choice"] == "cloud"

    @pytest.mark.parametrize(
        "wrapper",
        [
            "System prompt:\n{}\n\nRequest:\n",
            "\nClassify this message:\n",
            "\nCaller system prompt, quoted as task context:\n{}\n\nClassify this message:\n",
            (
                "\nCaller system prompt, quoted as task context:\n{}\n\nRecent conversation (context only, "
                "do not classify these):\n[1] hello\n\nConversation so far: ~90 tokens across the request\n\n"
                "Classify this message:\n"
            ),
        ],
    )
    def test_what_a_gateway_wraps_around_a_request_is_not_judged(
        self, gateway: Running, wrapper: str
    ) -> None:
        wrapped = wrapper.format(CLOUD_TEXT) + LOCAL_TEXT
        alone, found = (
            gateway.http.post("/v1/systemone", json=asked(state)).json()["answers"]["tier"]
            for state in (LOCAL_TEXT, wrapped)
        )
        assert found == alone

    @pytest.mark.parametrize(
        "question",
        [
            {"type": "noul", "instructions": "Is it urgent?"},
            {"type": "score", "criteria": ["easy", "hard"]},
            {"type": "choice", "criteria": {"billing": None, "sales": None}},
            {"type": "choice", "criteria": {"local": None}},
            {"type": "choice", "criteria": {"local": None, "cloud": None, "LOCAL": None}},
            {"type": "choice", "criteria": {"simple": None, "medium": None}},
            {"type": "choice", "criteria": ["local", "cloud"]},
            {"type": "choice"},
            {},
            None,
            "local or cloud?",
        ],
    )
    def test_any_other_question_is_refused_never_guessed(self, gateway: Running, question: Any) -> None:
        found = gateway.http.post("/v1/systemone", json={"state": "plan", "questions": {"q": question}})
        assert (found.status_code, found.json()["error"]["code"]) == (400, "invalid_request")
        assert "simple, medium, complex" in found.json()["error"]["message"]

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"state": "plan"},
            {"state": "plan", "questions": {}},
            {"state": "plan", "questions": [1]},
            asked(None),
            asked(5),
            asked(""),
            asked([]),
            asked({}),
            asked([{"role": "user", "content": [{"type": "input_image", "image_url": "data:,"}]}]),
        ],
    )
    def test_a_body_without_a_text_or_a_question_is_refused(self, gateway: Running, body: Any) -> None:
        assert gateway.http.post("/v1/systemone", json=body).status_code == 400

    def test_a_rule_decides_here_too(self, artifact: Path, start: Callable[..., Running]) -> None:
        rules = [{"name": "private", "send": "local-only", "keywords": ["payroll"]}]
        gateway = start(settings_for(artifact, routing={"rules": rules}, decisions={"bands": BANDS}))
        body = asked({"note": "about payroll", "request": CLOUD_TEXT})
        answer = gateway.http.post("/v1/systemone", json=body).json()["answers"]["tier"]
        assert (answer["choice"], answer["probabilities"]["local"]) == ("local", 1.0)
        body["questions"]["tier"]["criteria"] = TIERS
        answer = gateway.http.post("/v1/systemone", json=body).json()["answers"]["tier"]
        assert (answer["choice"], answer["probabilities"]["SIMPLE"]) == ("SIMPLE", 1.0)


class TestOpenAIsDecisions:
    def test_the_openai_package_reads_the_answers(self, gateway: Running) -> None:
        with OpenAI(
            base_url=f"{gateway.http.base_url}/v1".replace("//v1", "/v1"), api_key="unused"
        ) as client:
            made = client.decisions.create(
                model="any",
                input=CLOUD_TEXT,
                questions=[
                    {
                        "type": "choice",
                        "name": "where",
                        "instructions": "Which model?",
                        "choices": [{"value": "local"}, {"value": "cloud", "description": "large"}],
                    },
                    {"type": "predicate", "instructions": "Is it urgent?"},
                ],
            )
        first, second = made.answers
        assert (first.type, first.name, first.choice) == ("choice", "where", "cloud")
        assert sum(one.probability for one in first.probabilities) == pytest.approx(1.0)
        assert (second.type, second.name) == ("refusal", None)
        assert made.usage.total_tokens == made.usage.input_tokens > 2

    @pytest.mark.parametrize(
        "question",
        [
            {"type": "choice", "choices": 5},
            {"type": "choice", "choices": "local"},
            {"type": "choice", "choices": [{"value": "local"}, {"value": True}]},
            {"type": "choice", "choices": [{"value": "local"}, "cloud"]},
            {"type": "choice"},
            {"type": "score", "levels": [{"label": "low"}, {"label": "high"}]},
        ],
    )
    def test_a_question_without_an_answer_is_refused_by_itself(self, gateway: Running, question: Any) -> None:
        body = {"model": "any", "input": "plan", "questions": [{"name": "q", **question}]}
        found = gateway.http.post("/v1/decisions", json=body)
        assert found.json()["answers"] == [{"type": "refusal", "name": "q"}]

    def test_messages_are_read_as_a_conversation(self, gateway: Running) -> None:
        parts = [{"type": "input_text", "text": CLOUD_TEXT}]
        body = {
            "model": "any",
            "input": [{"role": "user", "type": "message", "content": parts}],
            "questions": [{"type": "choice", "choices": [{"value": "cloud"}, {"value": "local"}]}],
        }
        assert gateway.http.post("/v1/decisions", json=body).json()["answers"][0]["choice"] == "cloud"


@pytest.mark.parametrize(
    "bands",
    [
        {"one": 1.0},
        {"low": 0.5, "high": 0.9},
        {"low": 0.5, "middle": 0.5, "high": 1.0},
        {"low": 0.0, "high": 1.0},
        {"low": 0.6, "middle": 0.5, "high": 1.0},
        {"low": 0.5, "LOW": 1.0},
    ],
)
def test_bands_that_do_not_cover_p_cloud_are_refused(bands: dict[str, float]) -> None:
    with pytest.raises((ValueError, SettingsError)):
        GatewaySettings.model_validate({"decisions": {"bands": bands}})
