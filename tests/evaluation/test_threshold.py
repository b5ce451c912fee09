import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.keyword_artifact import build_keyword_artifact

from pointsman.artifact.manifest import Calibration
from pointsman.artifact.store import Artifact
from pointsman.datasets.outcomes import Dataset
from pointsman.errors import DataError, OutputExistsError
from pointsman.evaluation.calibration import threshold_for_share
from pointsman.evaluation.threshold import ThresholdGoal, choose, held_out_curve, store
from pointsman.labels import TARGETS
from pointsman.policy import Policy


def made(count=400, seed=0):
    rng = np.random.default_rng(seed)
    p = rng.random(count)
    weak = (rng.random(count) > p).astype(float)
    data = Dataset(("q",) * count, np.array(["g"] * count), weak, np.ones(count))
    return p, data


@pytest.mark.parametrize("given", [{}, {"share": 0.2, "budget": 1.0}, {"share": 1.2}, {"quality": -0.1}])
def test_a_wish_is_one_wish(given):
    with pytest.raises(DataError):
        ThresholdGoal(**given)


def test_a_share_needs_no_outcomes():
    p, _ = made()
    found = choose(ThresholdGoal(share=0.25), p, None, "d")
    assert found.share == pytest.approx(0.25, abs=0.005)
    assert found.quality is None
    assert "quality" not in held_out_curve(p, None, "d")["points"][3]


def test_a_quality_needs_them():
    p, data = made()
    with pytest.raises(DataError, match="needs labels"):
        choose(ThresholdGoal(quality=0.8), p, None, "d")
    found = choose(ThresholdGoal(quality=0.8), p, data, "d")
    assert (found.quality - data.weak.mean()) / (1.0 - data.weak.mean()) >= 0.8


SCORES = st.lists(
    st.one_of(
        st.sampled_from([0.0, 0.3, 0.5, 0.5000000000000001, 0.7, 1.0, math.inf]),
        st.floats(0.0, 1.0),
    ),
    min_size=1,
    max_size=30,
)


@given(SCORES, st.floats(0.0, 1.0), st.sampled_from([None, 0.0, 0.7, 0.9]), st.sampled_from(TARGETS))
def test_the_share_that_is_told_is_the_share_that_is_served(scores, share, confidence, safe):
    """Equal scores, texts that are not read (inf) and a confidence rule beside it included."""
    goal = ThresholdGoal(share=share, confidence_threshold=confidence)
    found = choose(goal, np.array(scores), None, "d", Policy(safe_target=safe))
    read = [found.policy.decide(p).target for p in scores if p <= 1.0]
    served = (read.count("cloud") + scores.count(math.inf)) / len(scores)
    assert (found.share, found.record["share"]) == (served, served)
    assert found.policy.confidence_threshold == (confidence or 0.0)


@given(SCORES, st.floats(0.0, 1.0))
def test_no_other_threshold_serves_a_share_that_is_nearer(scores, share):
    served = choose(ThresholdGoal(share=share), np.array(scores), None, "d").share
    every = [np.mean(np.array(scores) >= t) for t in {0.0, 1.0, *(p for p in scores if p <= 1.0)}]
    assert abs(served - share) <= min(abs(other - share) for other in every) + 1e-12


@given(SCORES.filter(lambda scores: max(scores) < 1.0), st.floats(0.1, 1.1))
def test_equal_scores_do_not_break_a_budget(scores, budget):
    goal = ThresholdGoal(budget=budget, price_local=0.1, price_cloud=1.1)
    assert choose(goal, np.array(scores), None, "d").share + 0.1 <= budget + 1e-9


def test_what_was_chosen_is_stored_with_its_curve_and_data(tmp_path):
    pytest.importorskip("onnx")
    p, data = made()
    artifact = build_keyword_artifact(tmp_path / "a")
    calibration = Calibration("platt", 0.5, -0.1, "d" * 64, 400)
    choice = choose(ThresholdGoal(budget=0.3), p, data, "sha")
    curve = held_out_curve(p, data, "sha")
    store(artifact, tmp_path / "b", calibration, choice, curve)
    found = Artifact.open(tmp_path / "b")
    found.verify()
    assert found.manifest.calibration == calibration
    assert found.manifest.policy == choice.policy
    assert found.manifest.policy.effective_threshold == choice.threshold, "the confidence rule is off"
    record = found.manifest.provenance["cloud_threshold"]
    assert (record["asked"], record["data_sha256"]) == ({"budget": 0.3}, "sha")
    assert found.manifest.provenance["curve"] == curve
    points = curve["points"]
    assert [point["share"] for point in points] == pytest.approx(np.linspace(0, 1, 21))
    assert points[0]["quality"] == pytest.approx(data.weak.mean())
    assert points[-1]["quality"] == pytest.approx(data.strong.mean())
    assert np.mean(p >= points[5]["threshold"]) == pytest.approx(0.25, abs=0.005)
    assert found.manifest.provenance["made_by"] == "a test"
    with pytest.raises(OutputExistsError):
        store(artifact, tmp_path / "b", calibration, choice, curve)


@pytest.mark.parametrize("at_most", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_a_weight_counts_as_so_many_equal_rows(seed, at_most):
    rng = np.random.default_rng(seed)
    score, weight = np.round(rng.random(40), 1), rng.integers(1, 6, 40)
    for share in np.linspace(0.0, 1.0, 9):
        found = threshold_for_share(score, share, at_most=at_most, weight=weight.astype(float))
        assert found == threshold_for_share(np.repeat(score, weight), share, at_most=at_most)
