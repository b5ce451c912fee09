import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.evaluation.metrics import (
    accuracy,
    brier,
    calibration_error,
    f1,
    reliability,
    roc_auc,
)

ROWS = st.lists(
    st.tuples(st.booleans(), st.floats(0.0, 1.0, allow_nan=False, width=32)), min_size=1, max_size=60
)


def unzip(rows):
    return np.array([t for t, _ in rows]), np.array([p for _, p in rows], dtype=np.float64)


def auc_by_pairs(is_true, score):
    pairs = [(a > b) + 0.5 * (a == b) for a in score[is_true] for b in score[~is_true]]
    return float(np.mean(pairs)) if pairs else float("nan")


@given(ROWS)
def test_auc_is_the_share_of_pairs_in_order(rows):
    is_true, score = unzip(rows)
    assert roc_auc(is_true, score) == pytest.approx(auc_by_pairs(is_true, score), nan_ok=True)


@given(ROWS)
def test_auc_knows_ranks_only(rows):
    is_true, score = unzip(rows)
    assert roc_auc(is_true, score) == pytest.approx(roc_auc(is_true, score * 4.0), abs=1e-9, nan_ok=True)


@given(ROWS)
def test_every_figure_of_a_probability_stays_in_its_range(rows):
    is_true, p = unzip(rows)
    assert 0.0 <= calibration_error(is_true, p) <= 1.0
    assert 0.0 <= brier(is_true, p) <= 1.0
    assert sum(b.count for b in reliability(is_true, p)) == len(rows)


@given(ROWS)
def test_bins_hold_what_they_say(rows):
    _, p = unzip(rows)
    for b in reliability(np.ones(len(p), bool), p):
        if b.count:
            assert b.low - 1e-9 <= b.predicted <= b.high + 1e-9


def test_a_calibrated_coin_has_no_error_and_a_sure_one_does():
    is_true = np.array([True, False] * 50)
    assert calibration_error(is_true, np.full(100, 0.5)) == 0.0
    assert calibration_error(is_true, np.ones(100)) == pytest.approx(0.5)


def test_decisions_by_hand():
    is_true, says = np.array([True, True, False, False]), np.array([True, False, True, False])
    assert accuracy(is_true, says) == 0.5
    assert f1(is_true, says) == 0.5
    assert f1(np.array([False]), np.array([False])) == 0.0


def test_one_class_has_no_auc():
    assert np.isnan(roc_auc(np.ones(3, bool), np.arange(3.0)))
