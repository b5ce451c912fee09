import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman.traffic.sampling import inclusion, spread_sample


@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(1, 5000)), min_size=3, max_size=40),
    st.integers(1, 40),
    st.floats(0, 1),
)
@settings(max_examples=50, deadline=None)
def test_probabilities_are_probabilities_and_sum_to_the_size(rows, size, threshold):
    size = min(size, len(rows))
    p_cloud, occurrences = np.array(rows, np.float64).T
    found = inclusion(p_cloud, threshold, occurrences, size)
    assert (found > 0).all() and (found <= 1).all()
    assert found.sum() == pytest.approx(size)


def test_a_doubtful_query_and_a_frequent_one_are_likelier():
    found = inclusion(np.array([0.5, 0.05, 0.05, 0.05]), 0.5, np.array([1.0, 1.0, 9.0, 1.0]), 1)
    assert found[0] > found[1] < found[2]


def test_the_sample_has_the_size_and_keeps_every_probability():
    rng = np.random.default_rng(0)
    space = rng.normal(size=(30, 3)).astype(np.float32)
    wanted = inclusion(rng.random(30), 0.5, np.ones(30), 8)
    draws = [spread_sample(space, wanted, seed) for seed in range(1500)]
    assert {len(draw) for draw in draws} == {8}
    got = np.bincount(np.concatenate(draws), minlength=30) / len(draws)
    assert np.abs(got - wanted).max() < 0.05


def test_weighted_figures_of_the_sample_are_those_of_the_log():
    rng = np.random.default_rng(1)
    space = rng.normal(size=(200, 2)).astype(np.float32)
    outcome, occurrences = (space[:, 0] > 0.3).astype(float), rng.integers(1, 20, 200).astype(float)
    chance = inclusion(rng.random(200), 0.4, occurrences, 40)
    totals = []
    for seed in range(300):
        chosen = spread_sample(space, chance, seed)
        totals.append((outcome * occurrences / chance)[chosen].sum())
    assert np.mean(totals) == pytest.approx((outcome * occurrences).sum(), rel=0.03)


def test_a_spread_sample_covers_two_clusters_evenly():
    space = np.concatenate([np.zeros((50, 2)), np.full((50, 2), 9.0)]).astype(np.float32)
    space += np.random.default_rng(2).normal(scale=0.1, size=space.shape).astype(np.float32)
    for seed in range(20):
        chosen = spread_sample(space, np.full(100, 0.1), seed)
        assert abs((chosen < 50).sum() - 5) <= 1
