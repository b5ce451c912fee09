"""A row that weighs three counts in every figure as three equal rows do."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman.datasets.outcomes import Dataset
from pointsman.evaluation.bootstrap import Bootstrap
from pointsman.evaluation.calibration import fit_calibration
from pointsman.evaluation.curve import curve_figures
from pointsman.evaluation.metrics import calibration_error, reliability, roc_auc
from pointsman.evaluation.quality import (
    Prices,
    assess_calibration,
    assess_decisions,
    assess_difference,
    assess_ranking,
    groups_of,
)
from pointsman.policy import Policy

ONCE = Bootstrap(1)
SCORES = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.5001, 0.9, 1.0])
ROWS = st.lists(
    st.tuples(
        SCORES, SCORES, st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.0, 1.0]), st.integers(1, 7)
    ),
    min_size=2,
    max_size=40,
)


def both(rows) -> list[tuple[Dataset, np.ndarray, np.ndarray]]:
    """Rows with weights, and the same rows repeated, each with two scores."""
    score, other, weak, strong, times = (np.array(column) for column in zip(*rows, strict=True))
    names = np.array([f"q{at}" for at in range(len(rows))])
    group = np.array(["a", "b"] * len(rows))[: len(rows)]
    weighed = Dataset(tuple(names), group, weak, strong, weight=times.astype(float))
    each = np.repeat(np.arange(len(rows)), times)
    repeated = Dataset(tuple(names[each]), group[each], weak[each], strong[each])
    return [(weighed, score, other), (repeated, score[each], other[each])]


def error_of(data: Dataset, score: np.ndarray) -> float:
    weight = np.ones(len(score)) if data.weight is None else data.weight
    return assess_calibration(data.is_cloud * 1.0, score, weight, ONCE)["calibration_error"]["value"]


def values(found: dict) -> dict:
    return {name: one["value"] for name, one in found["figures"].items()}


@settings(max_examples=60)
@given(ROWS)
def test_every_figure_of_a_report(rows):
    policy, prices = Policy(0.3, 0.0), Prices(1.0, 5.0)
    told = []
    for data, score, other in both(rows):
        ranking = assess_ranking(data, score, ONCE)
        decisions = assess_decisions(data, score, policy, prices, ONCE)
        told.append(
            {
                **values(ranking),
                **values(decisions),
                "curve": ranking["curve"],
                "better": ranking["cloud_is_better"],
                "lead": assess_difference(data, score, other, ONCE)["value"],
                "bins": [(b["predicted"], b["observed"], b["share"]) for b in decisions["reliability"]],
                "kind": error_of(data, score),
            }
        )
    assert told[0].keys() == told[1].keys()
    for name, one in told[0].items():
        assert np.allclose(one, told[1][name], equal_nan=True, atol=1e-9), name


@settings(max_examples=30)
@given(ROWS)
def test_every_group_of_a_report(rows):
    found = [
        {name: auc_of(data.subset(part), score[part]) for name, part in groups_of(data).items()}
        for data, score, _ in both(rows)
    ]
    assert found[0] == pytest.approx(found[1], nan_ok=True)


def auc_of(data: Dataset, score: np.ndarray) -> float:
    return roc_auc(data.is_cloud, score, data.weight)


@pytest.mark.parametrize("scale", [1e-3, 7.0])
def test_only_the_ratios_of_weights_count(scale):
    rng = np.random.default_rng(3)
    weak, strong, score, weight = rng.random(50), rng.random(50), rng.random(50), rng.random(50) + 0.5
    data = [
        Dataset(("q",) * 50, np.array(["a"] * 50), weak, strong, weight=weight * by) for by in (1.0, scale)
    ]
    found = [values(assess_decisions(d, score, Policy(0.3, 0.0), Prices(), ONCE)) for d in data]
    assert found[0] == pytest.approx(found[1])
    ranked = [values(assess_ranking(d, score, ONCE)) for d in data]
    named = [name for name in ranked[0] if not name.endswith("_code")]  # their deciles count rows
    assert [ranked[0][name] for name in named] == pytest.approx([ranked[1][name] for name in named])


def test_equal_weights_are_none():
    rng = np.random.default_rng(4)
    score, weak, strong = rng.random(60), rng.random(60), rng.random(60)
    ones = np.ones(60)
    for name in ("apgr", "apgr_code", "cpt50_code", "weak"):
        found = [getattr(curve_figures(score, weak, strong, w), name) for w in (None, ones)]
        assert found[0] == pytest.approx(found[1])
    is_true = strong > weak
    assert calibration_error(is_true, score) == pytest.approx(calibration_error(is_true, score, ones))
    assert [b.share for b in reliability(is_true, score)] == pytest.approx(
        [b.share for b in reliability(is_true, score, ones)]
    )


@settings(max_examples=30)
@given(ROWS)
def test_a_calibration(rows):
    (weighed, score, _), (repeated, again, _) = both(rows)
    margin, other = np.log((score + 0.01) / (1.01 - score)), np.log((again + 0.01) / (1.01 - again))
    target, same = (1.0 * (np.arange(len(data.queries)) < 0) for data in (weighed, repeated))
    target[score > 0.3], same[again > 0.3] = 1.0, 1.0
    if target.min() == target.max():
        return
    one = fit_calibration(margin, target, "platt", "d", weighed.weight)
    two = fit_calibration(other, same, "platt", "d")
    assert (one.a, one.b) == (pytest.approx(two.a, rel=1e-4), pytest.approx(two.b, rel=1e-4, abs=1e-6))


def test_an_interval_speaks_of_rows_that_were_judged_and_not_of_those_they_stand_for():
    """A row that stands for a thousand is one judgement: it makes nobody sure."""
    rng = np.random.default_rng(5)
    score, weak, strong = rng.random(100), rng.random(100), rng.random(100)
    wide = []
    for weight in (None, np.full(100, 1000.0)):
        data = Dataset(("q",) * 100, np.array(["a"] * 100), weak, strong, weight=weight)
        found = assess_ranking(data, score, Bootstrap(50))["figures"]["weak"]
        wide.append(found["high"] - found["low"])
    assert wide[0] == pytest.approx(wide[1])
