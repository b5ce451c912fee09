"""Ridge experts by family: none learns from its own row, and strangers get the joint opinion."""

import random

import numpy as np
import pytest

from pointsman.train.data import Example
from pointsman.train.experts import balanced_weights, expert_opinions

pytestmark = pytest.mark.torch

FILL = [f"word{i}" for i in range(30)]


def texts(count: int, seed: int) -> list[tuple[str, bool]]:
    rng = random.Random(seed)
    made = [(rng.random() < 0.5, rng.choices(FILL, k=6)) for _ in range(count)]
    return [(" ".join([*words, "zeta" if hard else "eta"]), hard) for hard, words in made]


def exam(count: int = 200) -> list[Example]:
    """Two families in which the same word means the opposite."""
    first = [Example(text, float(hard), "first", True) for text, hard in texts(count, 1)]
    return [*first, *(Example(text, float(not hard), "second", True) for text, hard in texts(count, 2))]


def test_each_family_has_its_own_experts():
    examples = exam()
    said = expert_opinions(examples, [], seed=0)
    for family in ("first", "second"):
        rows = [i for i, e in enumerate(examples) if e.source == family]
        assert np.corrcoef(said[rows], [examples[i].p_cloud for i in rows])[0, 1] > 0.8


def test_an_opinion_is_not_learned_from_its_own_outcome():
    examples = exam(100)
    turned = [Example(examples[0].query, 1.0 - examples[0].p_cloud, "first", True), *examples[1:]]
    first, second = (expert_opinions(e, [], seed=0)[0] for e in (examples, turned))
    assert first == pytest.approx(second, abs=1e-6)


def test_a_stranger_gets_the_joint_opinion_near_the_mean_and_vectors_count():
    examples = exam(100)[:100]
    vectors = np.array([[e.p_cloud, 1.0 - e.p_cloud] for e in examples], np.float16)
    strangers = [
        Example("nothing known here", None, "chat", False, 1.0),
        Example(texts(1, 9)[0][0], 0.9, "r", False),
    ]
    said = expert_opinions([*examples, *strangers], [], seed=0)
    assert said[100] == pytest.approx(np.mean([e.p_cloud for e in examples]), abs=0.1)
    read = expert_opinions(
        [*examples, strangers[0]], [np.vstack([vectors, [[1.0, 0.0]]]).astype(np.float16)], seed=0
    )
    assert read[100] > said[100] + 0.1


def test_small_families_weigh_more_than_their_rows():
    family = np.array(["a"] * 90 + ["b"] * 10)
    weights = balanced_weights(family, np.ones(100, bool))
    assert weights.mean() == pytest.approx(1.0)
    assert weights[-1] == pytest.approx(3.0 * weights[0])
