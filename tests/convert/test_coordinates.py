"""Activation-aware coordinates: the same classifier, and int8 that survives massive activations."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from tests.convert.definition import TINY, logits_by_definition, random_weights
from tests.support.massive_shapes import SHAPES, massive

from pointsman.artifact.manifest import Limits
from pointsman.convert.activation_ranges import ChannelRange, channel_ranges
from pointsman.convert.checkpoint import read_checkpoint
from pointsman.convert.coordinates import (
    CUT,
    Style,
    plan_coordinates,
    recoordinate,
    stream_places,
)
from pointsman.convert.emit import FloatProducts, emit
from pointsman.convert.fold import fold
from pointsman.convert.inputs import proof_texts
from pointsman.convert.mobilebert import MobileBertConfig, mobilebert_from_weights
from pointsman.convert.options import ExportOptions
from pointsman.convert.quantize import STYLES, quantize
from pointsman.evaluation.parity import QUANTIZED, answers_alone
from pointsman.runtime.probability import cloud_probability
from pointsman.runtime.session import Session, SessionConfig

pytestmark = pytest.mark.slow

ROUTER = Path(__file__).parents[2] / "checkpoints" / "default-router"
ONE = SessionConfig(threads=1)

CONFIGURATIONS = {
    "as shipped by Google": {},
    "no bottleneck": {"use_bottleneck": False},
    "no bottleneck, one block": {"use_bottleneck": False, "num_hidden_layers": 1},
    "one block": {"num_hidden_layers": 1},
    "no pooler": {"classifier_activation": False},
    "no transformation": {"trigram_input": False, "embedding_size": 24},
}


def tiny(overrides, zero=None):
    config = MobileBertConfig.from_config({**TINY, **overrides})
    weights = random_weights(config, seed=3)
    if zero:
        weights[zero][[1, 3]] = 0.0
    return config, weights, fold(mobilebert_from_weights(config, weights))


def session(folded):
    return Session(emit(folded, FloatProducts()).SerializeToString(), ONE)


def random_ranges(folded, rng, decades):
    """Channel ranges over many decades, so that every place wants other coordinates."""
    hidden, inner = folded.positions.shape[1], folded.blocks[0].attention_output.weight.shape[0]
    made = {}
    for stream in stream_places(folded):
        for name in stream:
            channels = inner if "attention_output" in name or "ffn" in name else hidden
            size = 10.0 ** rng.uniform(-decades, decades, channels)
            made[name] = ChannelRange(-size * rng.uniform(0, 1, channels), size)
    return made


@pytest.mark.parametrize("overrides", CONFIGURATIONS.values(), ids=CONFIGURATIONS.keys())
@pytest.mark.parametrize("style", [Style(0.5, False), Style(1.0, True)], ids=["half", "centred"])
def test_the_classifier_is_the_same_in_any_coordinates(overrides, style):
    config, weights, folded = tiny(overrides)
    rng = np.random.default_rng(1)
    ids = rng.integers(1, 60, (3, 9))
    wanted = logits_by_definition(config, weights, ids, np.ones_like(ids))
    for decades in (0.3, 2.0):
        ranges = random_ranges(folded, rng, decades)
        moved = recoordinate(folded, plan_coordinates(folded, ranges, style))
        found = session(moved).run(ids, np.ones_like(ids))
        assert np.linalg.norm(found - wanted) < 1e-4 * np.linalg.norm(wanted)


def test_a_refused_norm_keeps_its_gain_in_other_coordinates():
    config, weights, folded = tiny({}, zero="mobilebert.encoder.layer.0.output.bottleneck.LayerNorm.weight")
    ranges = random_ranges(folded, np.random.default_rng(2), 1.0)
    moved = recoordinate(folded, plan_coordinates(folded, ranges, Style(1.0, True)))
    ids = np.random.default_rng(3).integers(1, 60, (2, 7))
    wanted = logits_by_definition(config, weights, ids, np.ones_like(ids))
    found = session(moved).run(ids, np.ones_like(ids))
    assert np.linalg.norm(found - wanted) < 1e-4 * np.linalg.norm(wanted)


def test_channels_become_alike_and_no_gain_is_left_where_the_stream_stays_within_the_cut():
    _, _, folded = tiny({})
    rng = np.random.default_rng(5)
    texts = [rng.integers(1, 60, 9).tolist() for _ in range(20)]
    places = [name for stream in stream_places(folded) for name in stream]
    ranges = channel_ranges(emit(folded, FloatProducts()), places, texts, threads=1)
    moved = recoordinate(folded, plan_coordinates(folded, ranges, Style(1.0, False)))
    assert all(block.exit.gain is None for block in moved.blocks)
    after = channel_ranges(emit(moved, FloatProducts()), places, texts, threads=1)

    def unlike(found):
        sizes = [np.maximum(-r.low, r.high) for r in found.values()]
        return np.mean([size.max() / np.median(size) for size in sizes])

    assert unlike(after) < 0.7 * unlike(ranges)


def test_a_stream_that_jumps_gets_new_coordinates_there():
    _, _, folded = tiny({"num_hidden_layers": 4})
    ranges = random_ranges(folded, np.random.default_rng(6), 0.1)
    grown = ranges["block.1.exit"]
    for name in ("block.1.exit", "block.2.exit"):
        high = ranges[name].high.copy()
        high[4] = 10 * CUT
        ranges[name] = ChannelRange(grown.low, high)
    moved = recoordinate(folded, plan_coordinates(folded, ranges, Style(1.0, False)))
    gains = [block.exit.gain for block in moved.blocks]
    assert [gain is not None for gain in gains] == [False, True, False, False]


@pytest.fixture(scope="module")
def router():
    checkpoint = read_checkpoint(ROUTER)
    limits = Limits(64, 3200)
    return checkpoint, proof_texts(checkpoint, limits, ExportOptions())


@pytest.mark.parametrize("shape", ["few, 2.5e7", "by one sum", "all tokens"])
def test_int8_survives_massive_activations(shape, router):
    checkpoint, proof = router
    config = MobileBertConfig.from_config(json.loads((ROUTER / "config.json").read_text(encoding="utf-8")))
    tensors = massive(load_file(ROUTER / "model.safetensors"), dict(checkpoint.config), SHAPES[shape])
    folded = fold(mobilebert_from_weights(config, tensors))
    model, report = quantize(folded, proof.calibration_tokens[::2], cloud_index=1, weight_limit=63, threads=1)
    tokens = proof.tokens[::3]
    wanted, found = (
        cloud_probability(answers_alone(one, tokens), 1, None)
        for one in (session(folded), Session(model.SerializeToString(), ONE))
    )
    assert np.abs(wanted - found).mean() <= 0.004
    assert np.mean((wanted >= 0.5) == (found >= 0.5)) >= QUANTIZED.label_agreement
    assert report.alpha in {style.alpha for style in STYLES}
    assert report.magnitudes["largest"] > 50 * report.magnitudes["median_channel"]
