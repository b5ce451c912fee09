import numpy as np
import pytest

from pointsman.evaluation.threshold import held_out_curve
from pointsman.serve.inference.drift import WINDOW, Drift


def scores(shift: float, count: int, seed: int) -> np.ndarray:
    logit = np.random.default_rng(seed).normal(shift, 2.0, count)
    return 1.0 / (1.0 + np.exp(-logit))


@pytest.fixture(scope="module")
def provenance() -> dict[str, object]:
    return {"curve": held_out_curve(scores(0.0, 4000, 1), None, "d")}


def index_of(provenance: dict[str, object], values: np.ndarray) -> float | None:
    drift = Drift(provenance)
    for value in values:
        drift.observe(float(value))
    return drift.index


def test_the_same_kind_of_texts_has_not_moved(provenance: dict[str, object]) -> None:
    found = index_of(provenance, scores(0.0, 1000, 2))
    assert found is not None and 0.0 <= found < 0.1


@pytest.mark.parametrize("shift", [-3.0, 3.0])
def test_another_kind_has(provenance: dict[str, object], shift: float) -> None:
    found = index_of(provenance, scores(shift, 1000, 3))
    assert found is not None and found > 0.25


def test_what_is_long_past_does_not_count(provenance: dict[str, object]) -> None:
    values = np.concatenate([scores(5.0, WINDOW, 4), scores(0.0, WINDOW, 5)])
    found = index_of(provenance, values)
    assert found == pytest.approx(index_of(provenance, values[WINDOW:]))


def test_few_texts_or_no_curve_say_nothing(provenance: dict[str, object]) -> None:
    assert index_of(provenance, scores(0.0, 100, 6)) is None
    for other in ({}, {"curve": 1}, {"curve": {"points": [{"share": 0.5, "threshold": "x"}]}}):
        assert index_of(other, scores(0.0, 1000, 7)) is None


def test_equal_scores_are_one_bin(provenance: dict[str, object]) -> None:
    values = np.repeat([0.1, 0.8], [600, 400])
    tied = {"curve": held_out_curve(values, None, "d")}
    found = index_of(tied, values)
    assert found is not None and found < 0.01
