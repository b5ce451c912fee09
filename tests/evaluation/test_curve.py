import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.evaluation.curve import (
    apgr,
    apgr_code,
    apgr_paper,
    cost_quality_curve,
    cpt,
    cpt_code,
    curve_figures,
)

ROWS = st.lists(
    st.tuples(st.floats(-3, 3, width=16), st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=50
)


def table(rows):
    score, weak, strong = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
    return score, weak, strong


def outcomes(count=4000, seed=0):
    rng = np.random.default_rng(seed)
    weak, strong = (rng.random(count) < 0.5).astype(float), (rng.random(count) < 0.8).astype(float)
    return weak, strong, rng


@given(ROWS)
def test_the_ends_are_the_two_models(rows):
    score, weak, strong = table(rows)
    curve = cost_quality_curve(score, weak, strong)
    assert (curve.share[0], curve.share[-1]) == (0.0, 1.0)
    assert curve.weak == pytest.approx(weak.mean())
    assert curve.strong == pytest.approx(strong.mean())
    assert (np.diff(curve.share) > 0).all() and (np.diff(curve.threshold) < 0).all()


@given(ROWS)
def test_each_point_is_what_its_threshold_does(rows):
    score, weak, strong = table(rows)
    curve = cost_quality_curve(score, weak, strong)
    for share, quality, threshold in zip(curve.share, curve.quality, curve.threshold, strict=True):
        calls = score >= threshold
        assert share == pytest.approx(calls.mean())
        assert quality == pytest.approx(np.where(calls, strong, weak).mean())


@given(ROWS, st.floats(0.05, 0.95))
def test_cpt_is_the_smallest_share_that_reaches_it(rows, wanted):
    score, weak, strong = table(rows)
    if strong.mean() <= weak.mean():
        return
    curve = cost_quality_curve(score, weak, strong)
    share = cpt(curve, wanted)
    assert np.interp(share, curve.share, curve.recovered) == pytest.approx(wanted, abs=1e-6)
    before = np.linspace(0.0, share, 40)[:-1]
    assert (np.interp(before, curve.share, curve.recovered) <= wanted + 1e-6).all()


def test_a_coin_recovers_half_by_every_definition():
    weak, strong, rng = outcomes()
    figures = curve_figures(rng.random(len(weak)), weak, strong)
    for value in (figures.apgr, figures.apgr_paper, figures.apgr_code, figures.cpt50, figures.cpt50_code):
        assert value == pytest.approx(0.5, abs=0.04)


def test_one_score_for_all_is_a_coin_exactly():
    weak, strong, _ = outcomes()
    curve = cost_quality_curve(np.zeros(len(weak)), weak, strong)
    assert apgr(curve) == pytest.approx(0.5)
    assert apgr_paper(curve) == pytest.approx(0.5)
    assert cpt(curve, 0.8) == pytest.approx(0.8)


def test_an_oracle_beats_the_coin_and_its_reverse_loses():
    weak, strong, _ = outcomes()
    oracle = cost_quality_curve(strong - weak, weak, strong)
    worst = cost_quality_curve(weak - strong, weak, strong)
    assert apgr(oracle) > 1.0 > 0.5 > apgr(worst)
    assert apgr(oracle) + apgr(worst) == pytest.approx(1.0)


def test_code_and_rank_area_agree_on_a_fine_score():
    weak, strong, rng = outcomes(seed=3)
    score = strong - weak + rng.normal(size=len(weak)) * 2
    assert apgr_code(score, weak, strong) == pytest.approx(
        apgr(cost_quality_curve(score, weak, strong)), abs=0.01
    )
    curve = cost_quality_curve(score, weak, strong)
    assert cpt_code(score, weak, strong, 0.5) == pytest.approx(cpt(curve, 0.5), abs=0.03)


def test_equally_good_models_have_nothing_to_recover():
    ones = np.ones(5)
    curve = cost_quality_curve(np.arange(5.0), ones, ones)
    assert np.isnan(apgr(curve)) and np.isnan(cpt(curve, 0.5))
    assert np.isnan(apgr_code(np.arange(5.0), ones, ones))
