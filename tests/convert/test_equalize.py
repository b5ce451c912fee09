"""Equalizing is exact, and what it is for: one scale a weight."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tests.convert.definition import TINY, random_weights

from pointsman.convert.emit import FloatProducts, emit
from pointsman.convert.equalize import equalize
from pointsman.convert.fold import fold
from pointsman.convert.int8 import Int8Products, Range, watched_values
from pointsman.convert.mobilebert import MobileBertConfig, mobilebert_from_weights
from pointsman.runtime.session import Session, SessionConfig


def folded_with(change=None, **overrides):
    config = MobileBertConfig.from_config({**TINY, **overrides})
    weights = random_weights(config, seed=3)
    if change:
        change(weights)
    return fold(mobilebert_from_weights(config, weights))


def silence_a_channel(weights):
    name = next(name for name in weights if name.endswith("ffn.0.intermediate.dense.weight"))
    weights[name][2] = 0.0


def answers(folded, seed=5):
    ids = np.random.default_rng(seed).integers(1, 60, (4, 9))
    session = Session(emit(folded, FloatProducts()).SerializeToString(), SessionConfig(threads=1))
    return session.run(ids, np.ones_like(ids))


@pytest.mark.parametrize("change", [None, silence_a_channel])
def test_the_network_is_the_same(change):
    folded = folded_with(change)
    np.testing.assert_allclose(answers(equalize(folded)), answers(folded), rtol=1e-4, atol=1e-6)


def test_another_activation_lets_no_scale_pass():
    folded = folded_with(hidden_act="gelu")
    assert equalize(folded) is folded


@pytest.mark.parametrize("change", [None, silence_a_channel])
def test_the_first_product_of_every_network_has_one_scale(change):
    folded = equalize(folded_with(change))
    ranges = {name: Range(-1.0, 1.0) for name in watched_values(folded)}
    scales = first_scales(emit(folded, Int8Products(ranges)))
    assert len(scales) == sum(len(block.feed_forwards) for block in folded.blocks)
    assert all(scale.size == 1 for scale in scales)


def first_scales(model: onnx.ModelProto):
    return [numpy_helper.to_array(one) for one in model.graph.initializer if ".up.weight.scale" in one.name]
