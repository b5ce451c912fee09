"""The folded graph under real ONNX Runtime against the definition in float64, for every configuration."""

import numpy as np
import onnx
import pytest
from tests.convert.definition import TINY, logits_by_definition, random_weights

from pointsman.convert.emit import FloatProducts, emit
from pointsman.convert.fold import fold
from pointsman.convert.mobilebert import MobileBertConfig, mobilebert_from_weights
from pointsman.errors import CheckpointError, UnsupportedModelError
from pointsman.runtime.session import Session, SessionConfig

RELATIVE_FLOAT32 = 2e-5
TIMES_FLOAT32 = 6.0

VARIANTS = {
    "as shipped by Google": {},
    "one feed-forward network": {"num_feedforward_networks": 1},
    "no bottleneck": {"use_bottleneck": False},
    "no bottleneck, one block": {"use_bottleneck": False, "num_hidden_layers": 1},
    "attention from the bottleneck": {"use_bottleneck_attention": True},
    "own key and query, equal widths": {"key_query_shared_bottleneck": False, "intra_bottleneck_size": 24},
    "no trigram": {"trigram_input": False},
    "no transformation at all": {"trigram_input": False, "embedding_size": 24},
    "no pooler": {"classifier_activation": False},
    "gelu": {"hidden_act": "gelu"},
    "tanh": {"hidden_act": "tanh"},
    "sigmoid": {"hidden_act": "sigmoid"},
    "one block": {"num_hidden_layers": 1},
    "four blocks": {"num_hidden_layers": 4},
}


def folded_session(config, weights):
    folded = fold(mobilebert_from_weights(config, weights))
    model = emit(folded, FloatProducts())
    onnx.checker.check_model(model)
    return folded, Session(model.SerializeToString(), SessionConfig(threads=1))


def batch(rng, rows, length, vocabulary=60):
    ids = rng.integers(1, vocabulary, (rows, length))
    mask = np.ones_like(ids)
    for row in range(1, rows):
        real = int(rng.integers(1, length + 1))
        ids[row, real:], mask[row, real:] = 0, 0
    return ids, mask


def relative_error(found, wanted):
    return np.linalg.norm(found - wanted) / np.linalg.norm(wanted)


@pytest.mark.parametrize("overrides", VARIANTS.values(), ids=VARIANTS.keys())
def test_the_folded_graph_is_the_definition(overrides):
    config = MobileBertConfig.from_config({**TINY, **overrides})
    weights = random_weights(config, seed=7)
    _, session = folded_session(config, weights)
    rng = np.random.default_rng(11)
    for rows, length in ((1, 1), (1, 2), (1, 32), (3, 7), (5, 19)):
        ids, mask = batch(rng, rows, length)
        wanted = logits_by_definition(config, weights, ids, mask)
        float32 = logits_by_definition(config, weights, ids, mask, np.float32)
        allowed = TIMES_FLOAT32 * max(relative_error(float32, wanted), np.finfo(np.float32).eps * 8)
        assert relative_error(session.run(ids, mask), wanted) < allowed


@pytest.mark.parametrize("labels", [1, 2, 5])
def test_any_number_of_labels(labels):
    config = MobileBertConfig.from_config(TINY)
    weights = random_weights(config, seed=1, labels=labels)
    _, session = folded_session(config, weights)
    ids, mask = batch(np.random.default_rng(0), 2, 9)
    wanted = logits_by_definition(config, weights, ids, mask)
    assert session.run(ids, mask).shape == (2, labels)
    assert relative_error(session.run(ids, mask), wanted) < RELATIVE_FLOAT32


def test_a_padding_row_that_is_not_zero_does_not_move_the_answer():
    config = MobileBertConfig.from_config(TINY)
    weights = random_weights(config, seed=5)
    weights["mobilebert.embeddings.word_embeddings.weight"][0] = 3.0
    folded, session = folded_session(config, weights)
    assert folded.mask_words
    rng = np.random.default_rng(2)
    ids = rng.integers(1, 60, (1, 6))
    alone = session.run(ids, np.ones_like(ids))
    padded = session.run(np.pad(ids, ((0, 0), (0, 9))), np.pad(np.ones_like(ids), ((0, 0), (0, 9))))
    np.testing.assert_allclose(alone, padded, rtol=1e-5, atol=1e-6)
    assert (
        relative_error(alone, logits_by_definition(config, weights, ids, np.ones_like(ids)))
        < RELATIVE_FLOAT32
    )


@pytest.mark.parametrize("value", [0.0, 1e-38, 1e-12])
@pytest.mark.parametrize(
    "where",
    [
        "attention.output.LayerNorm",
        "ffn.1.output.LayerNorm",
        "output.LayerNorm",
        "output.bottleneck.LayerNorm",
    ],
)
def test_a_norm_with_a_zero_scale_stays_explicit_and_is_reported(where, value):
    config = MobileBertConfig.from_config(TINY)
    weights = random_weights(config, seed=9)
    weights[f"mobilebert.encoder.layer.0.{where}.weight"][[1, 4]] = value
    folded, session = folded_session(config, weights)
    step = next(step for step in folded.steps if step.name == "residual_coordinates")
    assert step.refused == 1
    assert "2 channels" in step.reason
    ids, mask = batch(np.random.default_rng(4), 3, 8)
    wanted = logits_by_definition(config, weights, ids, mask)
    assert relative_error(session.run(ids, mask), wanted) < RELATIVE_FLOAT32


def test_every_norm_of_an_ordinary_checkpoint_is_gone():
    config = MobileBertConfig.from_config(TINY)
    folded, _ = folded_session(config, random_weights(config, seed=2))
    operators = {node.op_type for node in emit(folded, FloatProducts()).graph.node}
    assert "Mul" not in operators
    assert all(step.refused == 0 for step in folded.steps)
    assert {step.name: step.done for step in folded.steps}["residual_coordinates"] == 2 * (1 + 4 + 1)


def test_the_comparison_can_fail():
    config = MobileBertConfig.from_config(TINY)
    weights = random_weights(config, seed=7)
    _, session = folded_session(config, weights)
    ids, mask = batch(np.random.default_rng(11), 2, 9)
    weights["mobilebert.encoder.layer.1.output.LayerNorm.weight"][3] *= 1.001
    assert (
        relative_error(session.run(ids, mask), logits_by_definition(config, weights, ids, mask))
        > RELATIVE_FLOAT32
    )


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ({"normalization_type": "layer_norm"}, "normalization_type='layer_norm'"),
        ({"hidden_act": "swish"}, "hidden_act='swish'"),
        ({"key_query_shared_bottleneck": False}, "key_query_shared_bottleneck=false"),
    ],
)
def test_what_cannot_be_folded_is_refused_by_name(overrides, named):
    with pytest.raises(UnsupportedModelError, match=named):
        MobileBertConfig.from_config({**TINY, **overrides})


@pytest.mark.parametrize(
    "overrides",
    [{"num_hidden_layers": 0}, {"num_attention_heads": 5}, {"hidden_size": "512"}, {"trigram_input": 1}],
)
def test_sizes_that_do_not_go_together_are_named(overrides):
    with pytest.raises(CheckpointError, match=r"config\.json"):
        MobileBertConfig.from_config({**TINY, **overrides})


def test_a_tensor_that_is_missing_or_of_another_shape_is_named():
    config = MobileBertConfig.from_config(TINY)
    weights = random_weights(config, seed=0)
    name = "mobilebert.encoder.layer.1.ffn.0.output.dense.weight"
    with pytest.raises(CheckpointError, match=f"{name}: expected shape"):
        mobilebert_from_weights(config, {**weights, name: weights[name].T})
    del weights[name]
    with pytest.raises(CheckpointError, match=f"{name} is missing"):
        mobilebert_from_weights(config, weights)
