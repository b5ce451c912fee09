import math

import pytest
from tests.support.running import Running
from tests.support.tiny_artifact import CLOUD_TEXT, LOCAL_TEXT

from pointsman.policy import Policy

P_CLOUD = 1 / (1 + math.exp(-5.0))
P_LOCAL = 1 / (1 + math.exp(6.0))


class TestPredict:
    def test_answers_the_query_string_and_the_body_alike(self, plain: Running) -> None:
        by_query = plain.http.post("/predict", params={"query": CLOUD_TEXT})
        by_body = plain.http.post("/predict", json={"query": CLOUD_TEXT})
        by_get = plain.http.get("/predict", params={"query": CLOUD_TEXT})
        assert by_query.json() == by_body.json() == by_get.json()
        assert by_body.json()["target"] == by_body.json()["label"] == "cloud"
        assert by_body.json()["confidence"] == pytest.approx(P_CLOUD, abs=1e-6)
        assert by_body.headers["x-pointsman-target"] == "cloud"
        assert by_body.headers["x-pointsman-confidence"] == f"{P_CLOUD:.4f}"

    def test_answers_a_batch_in_its_order(self, plain: Running) -> None:
        found = plain.http.post("/predict", json={"query": [CLOUD_TEXT, LOCAL_TEXT, CLOUD_TEXT]}).json()
        assert [one["target"] for one in found["predictions"]] == ["cloud", "local", "cloud"]
        again = plain.http.post("/predict", json={"queries": [CLOUD_TEXT, LOCAL_TEXT, CLOUD_TEXT]}).json()
        assert again == found

    @pytest.mark.parametrize(("threshold", "target"), [(0.0, "cloud"), (0.9, "local")])
    def test_takes_a_threshold_for_this_request(self, plain: Running, threshold: float, target: str) -> None:
        found = plain.http.post("/predict", json={"query": "plan", "threshold": threshold}).json()
        assert found["target"] == target
        assert found["p_cloud"] == pytest.approx(1 / (1 + math.exp(-2.0)), abs=1e-6)

    @pytest.mark.parametrize("threshold", [-0.1, 1.1, "0.5", True, [0.5]])
    def test_refuses_what_is_no_threshold(self, plain: Running, threshold: object) -> None:
        found = plain.http.post("/predict", json={"query": "plan", "threshold": threshold})
        assert (found.status_code, found.json()["error"]["code"]) == (400, "invalid_request")

    def test_says_which_version_answered(self, plain: Running) -> None:
        version = plain.gateway.engine.current.version
        assert plain.http.post("/predict", json={"query": "plan"}).json()["version"] == version


class TestOtherClients:
    def test_tei_gives_every_label_the_more_probable_first(self, plain: Running) -> None:
        found = plain.http.post("/predict", json={"inputs": LOCAL_TEXT, "truncate": True}).json()
        assert [one["label"] for one in found] == ["local", "cloud"]
        assert found[1]["score"] == pytest.approx(P_LOCAL, abs=1e-6)
        assert sum(one["score"] for one in found) == pytest.approx(1.0)

    def test_tei_batch_is_a_list_of_lists(self, plain: Running) -> None:
        found = plain.http.post("/predict", json={"inputs": [[LOCAL_TEXT], [CLOUD_TEXT]]}).json()
        assert [one[0]["label"] for one in found] == ["local", "cloud"]

    def test_tei_pair_is_refused_rather_than_misread(self, plain: Running) -> None:
        found = plain.http.post("/predict", json={"inputs": [LOCAL_TEXT, CLOUD_TEXT]})
        assert found.status_code == 400

    def test_semantic_router_gets_a_flat_list(self, plain: Running) -> None:
        found = plain.http.post("/classify", json={"inputs": CLOUD_TEXT}).json()
        assert {one["label"] for one in found} == {"local", "cloud"}
        assert sum(one["score"] for one in found) == pytest.approx(1.0)

    @pytest.mark.parametrize("path", ["/classify", "/v1/classify"])
    def test_vllm_gets_probabilities_in_the_order_of_the_labels(self, plain: Running, path: str) -> None:
        found = plain.http.post(path, json={"model": "m", "input": [CLOUD_TEXT, LOCAL_TEXT]}).json()
        assert found["object"] == "list"
        assert [(one["index"], one["label"], one["num_classes"]) for one in found["data"]] == [
            (0, "cloud", 2),
            (1, "local", 2),
        ]
        assert found["data"][0]["probs"] == pytest.approx([1 - P_CLOUD, P_CLOUD], abs=1e-6)
        assert found["usage"]["total_tokens"] == 5 + 4

    def test_infinity_gets_its_own_shape(self, plain: Running) -> None:
        found = plain.http.post("/classify", json={"input": [CLOUD_TEXT], "raw_scores": False}).json()
        assert found["object"] == "classify"
        assert found["data"][0][0]["label"] == "cloud"

    @pytest.mark.parametrize(
        "body",
        [
            {"query": [CLOUD_TEXT]},
            {"data": [CLOUD_TEXT]},
            {"input_data": {"query": [CLOUD_TEXT]}},
            [CLOUD_TEXT],
        ],
    )
    def test_azure_score(self, plain: Running, body: object) -> None:
        found = plain.http.post("/score", json=body).json()
        assert [one["target"] for one in found["predictions"]] == ["cloud"]

    def test_sagemaker_spelling(self, plain: Running) -> None:
        found = plain.http.post("/invocations", json={"inputs": CLOUD_TEXT}).json()
        assert found[0]["label"] == "cloud"

    def test_info_says_labels_limits_and_thresholds(self, plain: Running) -> None:
        found = plain.http.get("/info").json()
        assert found["model_id"] == "keyword"
        assert found["model_type"]["classifier"]["id2label"] == {"0": "local", "1": "cloud"}
        assert found["policy"] == {
            "effective_threshold": Policy().effective_threshold,
            "cloud_threshold": 0.5,
            "confidence_threshold": 0.7,
            "safe_target": "cloud",
        }
        assert found["max_input_length"] == 64


class TestExplain:
    def test_says_which_word_carried_the_decision(self, plain: Running) -> None:
        text = "please analyze the thing"
        found = plain.http.post("/explain", json={"query": text}).json()
        weights = {text[word["start"] : word["end"]]: word["weight"] for word in found["words"]}
        assert max(weights, key=lambda word: weights[word]) == "analyze"
        assert weights["analyze"] == pytest.approx(3.0, abs=1e-5)
        assert weights["please"] == 0.0

    def test_a_single_word_has_no_rest_to_compare_with(self, plain: Running) -> None:
        found = plain.http.post("/explain", json={"query": "analyze"}).json()
        assert [word["weight"] for word in found["words"]] == [0.0]

    @pytest.mark.parametrize("body", [{}, {"query": 3}, {"query": ["a"]}])
    def test_refuses_what_is_no_text(self, plain: Running, body: object) -> None:
        assert plain.http.post("/explain", json=body).status_code == 400

    def test_refuses_an_empty_text(self, plain: Running) -> None:
        found = plain.http.post("/explain", json={"query": "   "})
        assert found.json()["error"]["code"] == "empty_input"


class TestCounting:
    def test_decisions_appear_in_the_metrics(self, plain: Running) -> None:
        def count() -> float:
            value = plain.gateway.metrics.registry.get_sample_value(
                "pointsman_decisions_total", {"target": "cloud", "reason": "model", "kind": "classify"}
            )
            return value or 0.0

        before = count()
        plain.http.post("/predict", json={"query": [CLOUD_TEXT, "plan"]})
        assert count() == before + 2

    def test_a_repeated_text_comes_from_the_cache(self, plain: Running) -> None:
        text = "play the plan that nobody asked for yet"
        first = plain.http.post("/predict", json={"query": text}).json()
        runs = plain.gateway.engine.batcher.stats.runs
        assert plain.http.post("/predict", json={"query": text}).json() == first
        assert plain.gateway.engine.batcher.stats.runs == runs
