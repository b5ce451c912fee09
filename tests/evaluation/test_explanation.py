import pytest
from tests.support.keyword_artifact import WEIGHTS, build_keyword_artifact

from pointsman.errors import InputError
from pointsman.evaluation.explanation import MOST_PARTS, explain
from pointsman.policy import Policy
from pointsman.runtime.router import Router
from pointsman.settings import Settings

pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def router(tmp_path_factory):
    return Router.open(build_keyword_artifact(tmp_path_factory.mktemp("artifact") / "keyword"))


def test_each_word_weighs_what_it_adds(router):
    found = explain(router, "hello analyze the plan")
    assert {part.text: part.weight for part in found.parts} == pytest.approx(
        {word: WEIGHTS[word] for word in ("hello", "analyze", "the", "plan")}, abs=1e-4
    )


def test_the_decision_is_the_routers(router):
    assert explain(router, "analyze a plan").decision == router.route("analyze a plan")


def test_thresholds_turn_where_the_probability_stands(router):
    found = explain(router, "hello analyze the plan")
    for threshold, target in found.thresholds.items():
        assert target == ("cloud" if found.decision.p_cloud >= threshold else "local")


@pytest.mark.parametrize("policy", [Policy(), Policy(0.94, 0.7), Policy(0.2, 0.9, "local"), Policy(1.0, 1.0)])
@pytest.mark.parametrize("text", ["hello analyze the plan", "hello", "analyze", "the", ""])
def test_every_counterfactual_is_what_the_router_decides_then(router, policy, text):
    asked = Router.open(router.artifact, policy=policy)
    found = explain(asked, text)
    assert len(found.thresholds) == 9 and len(found.turn) == (2 if text else 0)
    for threshold, target in {**found.thresholds, **found.turn}.items():
        settings = Settings(cloud_threshold=threshold, safe_target=policy.safe_target)
        assert Router.open(router.artifact, settings=settings).route(text).target == target
    assert list(found.turn.values()) == (["cloud", "local"] if text else [])


@pytest.mark.parametrize("text", ["", "   ", "analyze", " \n hello "])
def test_nothing_to_leave_out_is_no_reason(router, text):
    assert explain(router, text).parts == ()


def test_the_parts_of_a_long_text_are_bounded_and_whole(router):
    text = "analyze the plan " * 100
    parts = explain(router, text).parts
    assert len(parts) <= MOST_PARTS
    assert " ".join(part.text for part in parts) == text.strip()


def test_what_is_no_text_is_refused(router):
    with pytest.raises(InputError):
        explain(router, 3)
