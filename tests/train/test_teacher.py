import numpy as np
import pytest

from pointsman.errors import CheckpointError
from pointsman.train.data import Example
from pointsman.train.teacher import EMBEDDING_SIZE, Reading, embed, opinions, shipped_encoder, soft_labels

pytestmark = pytest.mark.torch


def read(texts, cache, lines=None):
    return embed(
        texts, shipped_encoder(), Reading(cache, 32, (lines if lines is not None else []).append, 256)
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # transformers' own imports
def test_vectors_are_of_unit_length_alike_for_like_texts_and_cached(tmp_path):
    texts = ["Turn on the light", "Please switch on the lamp", "Prove the theorem of Pythagoras"]
    vectors = read(texts, tmp_path).astype(np.float32)
    assert vectors.shape == (3, EMBEDDING_SIZE)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(3), abs=2e-3)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2
    lines = []
    again = read(texts, tmp_path, lines)
    assert np.array_equal(again.astype(np.float32), vectors)
    assert not lines, "the second reading must come from the cache"
    read([*texts, "One more"], tmp_path, lines)
    assert lines, "other texts are another cache"


def test_a_classifiers_opinions_are_probabilities_and_cached(tiny_base, tmp_path):
    lines = []

    def ask():
        reading = Reading(tmp_path, 16, lines.append, 64)
        return opinions(["prove the", "play", "hello"], tiny_base, reading)

    first = ask()
    asked = len(lines)
    assert first.shape == (3,)
    assert first.dtype == np.float32
    assert ((first > 0.0) & (first < 1.0)).all()
    assert np.array_equal(first, ask())
    assert len(lines) == asked, "the second reading must come from the cache"


def test_a_teacher_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        opinions(["a"], tmp_path / "none", Reading(tmp_path, 16, print))


def examples(count):
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(count, EMBEDDING_SIZE))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    made = [Example(f"text number {i}", float(vectors[i, 0] > 0), "exam", True) for i in range(count)]
    return made, vectors.astype(np.float16)


def test_soft_labels_are_learned_from_the_others_and_rules_stay():
    made, vectors = examples(600)
    ruled = [Example("hello", 0.02, "chat", False), Example("text", None, "plain", False)]
    soft = soft_labels([*made, *ruled], np.concatenate([vectors, vectors[:2]]), seed=1)
    known = np.array([e.p_cloud for e in made])
    assert soft.shape == (602,)
    assert ((soft >= 0.0) & (soft <= 1.0)).all()
    assert np.corrcoef(soft[:600], known)[0, 1] > 0.3
    assert soft[600] == pytest.approx(0.02)
    assert np.array_equal(soft, soft_labels([*made, *ruled], np.concatenate([vectors, vectors[:2]]), seed=1))


def test_a_querys_own_outcome_does_not_reach_its_soft_label():
    made, vectors = examples(400)
    before = soft_labels(made, vectors, seed=1)
    turned = [Example(made[0].query, 1.0 - made[0].p_cloud, "exam", True), *made[1:]]
    assert soft_labels(turned, vectors, seed=1)[0] == pytest.approx(before[0], abs=1e-6)
