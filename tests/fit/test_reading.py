"""What a base makes of texts, and a checkpoint with another margin."""

import numpy as np
import pytest

from pointsman.checkpoint.word_experts import WordExperts
from pointsman.convert.build import export
from pointsman.convert.options import ExportOptions
from pointsman.errors import CheckpointError
from pointsman.evaluation.calibration import cloud_margin
from pointsman.fit.reading import Base, Change
from pointsman.runtime.router import Router

pytestmark = [pytest.mark.torch]


def change_of(base: Base, seed: int, odds: float = 0.7) -> Change:
    rng = np.random.default_rng(seed)
    read = base.read(["hello"])
    words = rng.normal(size=read.words.shape[1])
    return Change(odds, words, 0.3)


def with_experts(directory, count: int, vocabulary: int) -> None:
    rng = np.random.default_rng(count)
    table, biases = rng.normal(size=(vocabulary, 2 * count + 1)), rng.normal(size=(2, count + 1))
    WordExperts.rounded(table, *biases, [*range(count), 0]).write(directory)


def test_words_are_tokens_over_the_root_of_their_number(base_directory):
    read = Base(base_directory).read(["hello hello thanks", "play"])
    # With the two special ones the texts have five and three tokens.
    assert np.allclose(sorted(read.words[0].data), np.array([1, 1, 1, 2]) / np.sqrt(5))
    assert np.allclose(read.words[1].data, 1 / np.sqrt(3))


def test_the_order_and_the_neighbours_of_texts_change_nothing(base_directory, texts):
    base = Base(base_directory)
    read, backward = base.read(texts), base.read(texts[::-1])
    assert np.allclose(read.odds, backward.odds[::-1], atol=1e-5)
    assert (read.words != backward.words[::-1]).nnz == 0


@pytest.mark.parametrize("experts", [0, 1, 3])
@pytest.mark.parametrize("odds", [0.7, 0.0, -1.5])
def test_a_changed_checkpoint_answers_with_the_changed_margin(base_directory, texts, tmp_path, experts, odds):
    base = Base(base_directory)
    read = base.read(texts)
    if experts:
        nothing = Change(1.0, np.zeros(read.words.shape[1]), 0.0)
        start = base.changed(nothing, tmp_path / "start", [])
        with_experts(start, experts, read.words.shape[1])
        base = Base(start)
        read = base.read(texts)
    change = change_of(base, experts, odds)
    again = Base(base.changed(change, tmp_path / "changed", texts)).read(texts)
    # A weight of a token is rounded to a multiple of 2^-10.
    assert np.allclose(again.odds, change.margins(read), atol=2e-3)


def test_the_exported_router_carries_the_change(base_directory, texts, tmp_path):
    base = Base(base_directory)
    change = change_of(base, 1)
    wanted = change.margins(base.read(texts))
    checkpoint = base.changed(change, tmp_path / "changed", texts)
    options = ExportOptions(plain=False, measure=False)
    router = Router.open(export(checkpoint, tmp_path / "router", options, lambda line: None).artifact)
    found = cloud_margin(router.logits(texts), router.labels.cloud_index)
    assert np.corrcoef(found, wanted)[0, 1] > 0.999
    assert np.abs(found - wanted).max() < 0.2


def test_a_steep_gate_does_not_bound_the_scale_of_a_change(base_directory, tmp_path):
    base = Base(base_directory)
    change = change_of(base, 2)
    start = base.changed(Change(1.0, np.zeros_like(change.words), 0.0), tmp_path / "start", [])
    gate, nothing = np.full((len(change.words), 2), 31.0), np.zeros((len(change.words), 2))
    WordExperts.rounded(np.hstack([gate, nothing]), np.zeros(2), np.zeros(2), [0, 1]).write(start)
    assert Base(start).largest(change) == pytest.approx(np.abs(change.words).max())


def test_a_weight_that_the_file_cannot_hold_is_an_error(base_directory, tmp_path):
    base = Base(base_directory)
    with pytest.raises(CheckpointError, match="Regularise"):
        base.changed(change_of(base, 0).times(100.0), tmp_path / "changed", [])
    assert not (tmp_path / "changed").exists()
