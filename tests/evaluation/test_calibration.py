import numpy as np
import pytest

from pointsman.errors import DataError
from pointsman.evaluation.bootstrap import Bootstrap
from pointsman.evaluation.calibration import (
    fit_calibration,
    threshold_for_budget,
    threshold_for_quality,
    threshold_for_share,
)
from pointsman.evaluation.curve import cost_quality_curve
from pointsman.evaluation.metrics import calibration_error


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def drawn(a, b, count=20_000, seed=1):
    rng = np.random.default_rng(seed)
    margin = rng.normal(0.5, 2.0, count)
    return margin, (rng.random(count) < sigmoid(a * margin + b)).astype(np.float64)


def test_platt_finds_what_made_the_data():
    margin, target = drawn(0.7, -0.9)
    found = fit_calibration(margin, target, "platt", "d", None)
    assert (found.a, found.b) == (pytest.approx(0.7, abs=0.05), pytest.approx(-0.9, abs=0.05))
    assert (found.method, found.n, found.data_sha256) == ("platt", len(margin), "d")


def test_temperature_keeps_the_middle():
    margin, target = drawn(0.4, 0.0)
    found = fit_calibration(margin, target, "temperature", "d")
    assert found.b == 0.0
    assert found.a == pytest.approx(0.4, abs=0.03)


def test_calibrated_probabilities_are_honest_on_other_rows():
    found = fit_calibration(*drawn(0.3, -1.0), "platt", "d")
    margin, target = drawn(0.3, -1.0, seed=2)
    assert calibration_error(target > 0.5, sigmoid(margin)) > 0.1
    assert calibration_error(target > 0.5, sigmoid(found.a * margin + found.b)) < 0.02


def test_a_row_that_weighs_twice_is_two_rows():
    margin, target = drawn(0.7, 0.2, count=300)
    weight = np.where(np.arange(300) < 50, 2.0, 1.0)
    twice = fit_calibration(np.append(margin, margin[:50]), np.append(target, target[:50]), "platt", "d")
    once = fit_calibration(margin, target, "platt", "d", weight)
    assert (once.a, once.b) == (pytest.approx(twice.a, abs=0.02), pytest.approx(twice.b, abs=0.02))


def test_a_handful_of_rows_told_apart_makes_nobody_sure():
    margin = np.array([-2.0, -1.0, -0.5, 0.5, 1.0, 2.0])
    found = fit_calibration(margin, (margin > 0).astype(float), "platt", "d")
    assert sigmoid(found.a * 2.0 + found.b) < 0.95


@pytest.mark.parametrize("target", [np.zeros(5), np.ones(5), np.zeros(0)])
def test_one_class_cannot_calibrate(target):
    with pytest.raises(DataError, match="both labels"):
        fit_calibration(np.arange(float(len(target))), target, "platt", "d")


def test_swapped_labels_are_noticed():
    margin, target = drawn(1.0, 0.0, count=500)
    with pytest.raises(DataError, match="swapped"):
        fit_calibration(margin, 1.0 - target, "platt", "d")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 0.5, 0.9, 1.0])
def test_a_share_asked_for_is_the_share_got_on_other_queries(share):
    rng = np.random.default_rng(4)
    threshold = threshold_for_share(rng.beta(2, 3, 5000), share)
    assert np.mean(rng.beta(2, 3, 5000) >= threshold) == pytest.approx(share, abs=0.02)


def test_a_quality_asked_for_is_got_on_the_same_rows():
    rng = np.random.default_rng(5)
    strong, weak = np.ones(2000), (rng.random(2000) < 0.5).astype(float)
    p = sigmoid(rng.normal(size=2000) + 1.0 - 2.0 * weak)
    threshold = threshold_for_quality(cost_quality_curve(p, weak, strong), 0.8)
    quality = np.where(p >= threshold, strong, weak).mean()
    assert (quality - weak.mean()) / (strong.mean() - weak.mean()) >= 0.8


def test_a_budget_is_kept():
    p = np.random.default_rng(6).random(1001)
    threshold = threshold_for_budget(p, 0.4, 0.1, 1.1)
    spent = np.where(p >= threshold, 1.1, 0.1).mean()
    assert 0.39 < spent <= 0.4


def test_impossible_wishes_are_refused():
    with pytest.raises(DataError, match="budget"):
        threshold_for_budget(np.ones(3), 0.05, 0.1, 1.0)
    with pytest.raises(DataError, match="prices"):
        threshold_for_budget(np.ones(3), 0.5, 1.0, 1.0)
    with pytest.raises(DataError, match="at least one"):
        threshold_for_share(np.zeros(0), 0.5)


def test_the_bootstrap_covers_a_mean_as_its_formula_does():
    values = np.random.default_rng(7).normal(3.0, 2.0, 400)
    found = Bootstrap(800).interval(lambda rows: float(values[rows].mean()), 400)
    error = 1.96 * values.std() / 20.0
    assert found.value == pytest.approx(values.mean())
    assert (found.value - found.low, found.high - found.value) == (
        pytest.approx(error, rel=0.2),
        pytest.approx(error, rel=0.2),
    )


def test_an_undefined_figure_has_no_interval():
    found = Bootstrap(5).interval(lambda rows: float("nan"), 3)
    assert np.isnan([found.value, found.low, found.high]).all()
