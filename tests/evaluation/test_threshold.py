import numpy as np
import pytest
from tests.support.keyword_artifact import build_keyword_artifact

from pointsman.artifact.manifest import Calibration
from pointsman.artifact.store import Artifact
from pointsman.errors import DataError, OutputExistsError
from pointsman.evaluation.dataset import Dataset
from pointsman.evaluation.threshold import ThresholdGoal, choose, held_out_curve, store


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
    assert found.manifest.policy.cloud_threshold == choice.threshold
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
