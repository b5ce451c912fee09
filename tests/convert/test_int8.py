"""The int8 graph: near the float one, and the same for a query whoever stands beside it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.convert.definition import TINY, random_weights

from pointsman.convert.activation_ranges import ranges_at, row_extremes
from pointsman.convert.emit import FloatProducts, emit
from pointsman.convert.fold import fold
from pointsman.convert.int8 import Int8Products, Range, quantize_weight, watched_values
from pointsman.convert.mobilebert import MobileBertConfig, mobilebert_from_weights
from pointsman.convert.quantize import COVERAGES, NEAR_ENOUGH, quantize
from pointsman.runtime.batching import pad
from pointsman.runtime.session import Session, SessionConfig

ONE = SessionConfig(threads=1)


def sequences(seed, count, longest=20):
    rng = np.random.default_rng(seed)
    return [rng.integers(1, 60, rng.integers(2, longest)).tolist() for _ in range(count)]


def folded_with(**overrides):
    config = MobileBertConfig.from_config({**TINY, **overrides})
    return fold(mobilebert_from_weights(config, random_weights(config, seed=3)))


@pytest.mark.parametrize(
    "overrides",
    [{}, {"use_bottleneck": False}, {"hidden_act": "gelu"}, {"trigram_input": False, "embedding_size": 24}],
    ids=["as shipped", "no bottleneck", "gelu", "no transformation"],
)
def test_int8_stays_near_the_float_graph(overrides):
    folded = folded_with(**overrides)
    model, report = quantize(folded, sequences(0, 60), cloud_index=1, weight_limit=63, threads=1)
    exact = Session(emit(folded, FloatProducts()).SerializeToString(), ONE)
    int8 = Session(model.SerializeToString(), ONE)
    ids, mask = pad(sequences(1, 30), pad_id=0)
    wanted, found = exact.run(ids, mask), int8.run(ids, mask)
    # A small random network amplifies every rounding; a trained one is held to the parity gates.
    assert np.linalg.norm(found - wanted) < 0.45 * np.linalg.norm(wanted)
    assert report.covered in COVERAGES
    assert report.tried[str(report.covered)] == min(report.tried.values())


@pytest.mark.parametrize("overrides", [{"use_bottleneck": False}, {"hidden_act": "gelu"}], ids=str)
def test_products_that_carry_the_error_stay_float_even_where_that_is_not_enough(overrides):
    texts = sequences(0, 60)
    _, report = quantize(folded_with(**overrides), texts, cloud_index=1, weight_limit=63, threads=1)
    assert report.kept_float
    assert NEAR_ENOUGH < report.mean_p < 0.8 * min(report.tried.values())


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), rows=st.integers(2, 9))
def test_batch_mates_padding_and_order_do_not_matter(int8_session, seed, rows):
    texts = sequences(seed, rows)
    together = int8_session.run(*pad(texts, pad_id=0))
    order = np.random.default_rng(seed).permutation(rows)
    shuffled = int8_session.run(*pad([texts[i] for i in order], pad_id=0))
    np.testing.assert_allclose(shuffled, together[order], atol=1e-5)
    for text, row in zip(texts, together, strict=True):
        np.testing.assert_allclose(int8_session.run(*pad([text], pad_id=0))[0], row, atol=1e-5)


@pytest.fixture(scope="module")
def int8_session():
    model, _ = quantize(folded_with(), sequences(0, 40), cloud_index=1, weight_limit=63, threads=1)
    return Session(model.SerializeToString(), ONE)


@given(st.integers(0, 2**32 - 1), st.integers(1, 127))
def test_a_quantized_weight_is_within_half_a_step_and_its_limit(seed, limit):
    weight = np.random.default_rng(seed).standard_normal((5, 7))
    weight[3] = 0.0
    scales, integers = quantize_weight(weight, limit)
    assert np.abs(integers.astype(int)).max() <= limit
    assert (np.abs(scales[:, None] * integers - weight) <= scales[:, None] / 2 + 1e-12).all()


def test_no_product_can_saturate_without_vnni():
    """`vpmaddubsw` adds two products of an unsigned and a signed byte in 16 bits."""
    _, integers = quantize_weight(np.random.default_rng(0).standard_normal((9, 9)))
    assert 2 * 255 * int(np.abs(integers.astype(int)).max()) <= np.iinfo(np.int16).max


@given(st.floats(-100, 0), st.floats(0, 100))
def test_zero_is_exact_in_every_range(low, high):
    scale, zero = Range(low, high).quantization()
    assert 0 <= zero <= 255
    assert scale > 0


def test_a_range_without_zero_is_refused():
    with pytest.raises(ValueError, match="must contain 0"):
        Range(1.0, 2.0)


def test_ranges_are_measured_on_tokens_and_a_tail_can_be_cut():
    folded = folded_with()
    watched = watched_values(folded)
    extremes = row_extremes(emit(folded, FloatProducts()), watched, sequences(0, 20), threads=1)
    tokens = sum(len(s) for s in sequences(0, 20))
    assert set(extremes) == set(watched)
    assert len(extremes["embeddings.rows"][0]) == tokens
    assert len(extremes["block.1.first"][0]) == 20
    whole, cut = ranges_at(extremes, 1.0), ranges_at(extremes, 0.9)
    assert all(whole[n].low <= cut[n].low and cut[n].high <= whole[n].high for n in watched)
    assert any(cut[n].high < whole[n].high for n in watched)


def test_a_range_for_every_product_is_watched():
    folded = folded_with()
    watched = watched_values(folded)
    emit(folded, Int8Products({name: Range(-1.0, 1.0) for name in watched}))
    for name in watched:
        ranges = {other: Range(-1.0, 1.0) for other in watched if other != name}
        with pytest.raises(KeyError, match=name):
            emit(folded, Int8Products(ranges))
