"""Each step of the algebra against the definition it replaces, in float64."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.convert.algebra import (
    SCALE_LIMIT,
    Affine,
    Coordinates,
    Norm,
    Update,
    absorb_norm,
    compose,
    express,
    move,
    plan_scales,
    position_table,
    read,
    stack,
    write,
)

EXACT = 1e-12
seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 7)


def affine(rng, out, width):
    return Affine(rng.standard_normal((out, width)), rng.standard_normal(out))


def norm(rng, channels):
    return Norm(
        rng.uniform(0.5, 1.5, channels) * rng.choice((-1.0, 1.0), channels), rng.standard_normal(channels)
    )


def apply(linear, x):
    return x @ linear.weight.T + linear.bias


def close(found, wanted):
    return np.allclose(found, wanted, rtol=EXACT, atol=EXACT * max(1.0, np.abs(wanted).max()))


@given(seeds, sizes, sizes)
def test_absorb_norm_is_the_norm_after_the_linear(seed, out, width):
    rng = np.random.default_rng(seed)
    linear, n, x = affine(rng, out, width), norm(rng, out), rng.standard_normal((3, width))
    assert close(apply(absorb_norm(linear, n), x), apply(linear, x) * n.weight + n.bias)


@given(seeds, sizes, sizes, sizes)
def test_compose_is_one_after_the_other(seed, out, middle, width):
    rng = np.random.default_rng(seed)
    inner, outer, x = affine(rng, middle, width), affine(rng, out, middle), rng.standard_normal((3, width))
    assert close(apply(compose(outer, inner), x), apply(outer, apply(inner, x)))


@given(seeds, sizes, st.lists(sizes, min_size=1, max_size=4))
def test_stack_is_side_by_side(seed, width, outs):
    rng = np.random.default_rng(seed)
    maps, x = [affine(rng, out, width) for out in outs], rng.standard_normal((3, width))
    assert close(apply(stack(maps), x), np.concatenate([apply(m, x) for m in maps], axis=1))


@given(seeds, sizes, sizes)
def test_read_gives_a_consumer_of_z_what_a_consumer_of_y_computes(seed, out, channels):
    rng = np.random.default_rng(seed)
    stream = Coordinates(rng.uniform(0.1, 9, channels), rng.standard_normal(channels))
    linear, y = affine(rng, out, channels), rng.standard_normal((3, channels))
    z = (y - stream.offset) * stream.scale
    assert close(apply(read(linear, stream), z), apply(linear, y))


@given(seeds, sizes, sizes)
def test_express_starts_a_stream_in_its_scale(seed, out, width):
    rng = np.random.default_rng(seed)
    linear, scale, x = affine(rng, out, width), rng.uniform(0.1, 9, out), rng.standard_normal((3, width))
    stream = Coordinates(scale, rng.standard_normal(out))
    started = express(linear, stream)
    assert close(apply(started, x) / stream.scale + stream.offset, apply(linear, x))


@given(seeds, sizes, sizes, st.integers(1, 6))
def test_a_whole_stream_of_norms_becomes_plain_sums(seed, channels, width, length):
    rng = np.random.default_rng(seed)
    norms = [norm(rng, channels) for _ in range(length)]
    y = rng.standard_normal((3, channels))
    scales = plan_scales(norms, np.ones(channels))
    stream = Coordinates(scales[0], rng.standard_normal(channels))
    z = (y - stream.offset) * stream.scale
    for n, scale in zip(norms, scales[1:], strict=True):
        linear, u = affine(rng, channels, width), rng.standard_normal((3, width))
        update, stream = write(linear, n, stream, scale)
        assert update.gain is None
        y = (apply(linear, u) + y) * n.weight + n.bias
        z = u @ update.weight.T + z
    assert close(z / stream.scale + stream.offset, y)


@pytest.mark.parametrize("dead", [0.0, 1e-310, 1e-30, 1e30])
def test_a_scale_that_cannot_be_divided_back_keeps_its_gain_and_the_function(dead):
    rng = np.random.default_rng(3)
    norms = [norm(rng, 4) for _ in range(3)]
    norms[1].weight[2] = dead
    y = rng.standard_normal((5, 4))
    scales = plan_scales(norms, np.ones(4))
    stream = Coordinates(scales[0], np.zeros(4))
    z, gains = y * scales[0], []
    for n, scale in zip(norms, scales[1:], strict=True):
        linear, u = affine(rng, 4, 3), rng.standard_normal((5, 3))
        update, stream = write(linear, n, stream, scale)
        gains.append(update.gain)
        y = (apply(linear, u) + y) * n.weight + n.bias
        z = u @ update.weight.T + z * (1.0 if update.gain is None else update.gain)
    assert [gain is not None for gain in gains] == [False, True, False]
    np.testing.assert_array_equal(np.flatnonzero(gains[1] != 1.0), [2])
    assert close(z / stream.scale + stream.offset, y)


@given(seeds, sizes, sizes, st.booleans(), st.booleans())
def test_move_is_the_same_update_between_other_coordinates(seed, channels, width, has_gain, has_bias):
    rng = np.random.default_rng(seed)
    update = Update(
        rng.standard_normal((channels, width)),
        rng.standard_normal(channels) if has_gain else None,
        rng.standard_normal(channels) if has_bias else None,
    )
    before, after = (
        Coordinates(10.0 ** rng.uniform(-7, 7, channels), rng.standard_normal(channels)) for _ in range(2)
    )
    z, u = rng.standard_normal((3, channels)), rng.standard_normal((3, width))
    moved = added(move(update, before, after), (z - before.offset) * before.scale, u)
    assert np.allclose(moved / after.scale + after.offset, added(update, z, u), rtol=1e-9, atol=1e-9)


def added(update, z, u):
    gain = 1.0 if update.gain is None else update.gain
    return u @ update.weight.T + gain * z + (0.0 if update.bias is None else update.bias)


def test_moving_a_plain_sum_by_one_scale_leaves_a_plain_sum():
    rng = np.random.default_rng(4)
    same = Coordinates(rng.uniform(0.5, 2, 3), np.zeros(3))
    moved = move(Update(rng.standard_normal((3, 2))), same, same)
    assert moved.gain is None and moved.bias is None


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=40))
def test_scales_stay_where_float32_is_exact_enough(weights):
    norms = [Norm(np.array([w]), np.zeros(1)) for w in weights]
    for scale in plan_scales(norms, np.ones(1)):
        assert 1.0 / SCALE_LIMIT <= abs(scale[0]) <= SCALE_LIMIT


def test_position_table_is_everything_but_the_words():
    rng = np.random.default_rng(0)
    positions, token_type, n = rng.standard_normal((5, 4)), rng.standard_normal(4), norm(rng, 4)
    linear, words, scale = affine(rng, 4, 3), rng.standard_normal((5, 3)), rng.uniform(0.5, 2, 4)
    whole = ((apply(linear, words) + positions + token_type) * n.weight + n.bias) * scale
    table = position_table(positions, token_type, linear.bias, n, scale)
    assert close((words @ linear.weight.T) * n.weight * scale + table, whole)


def test_the_comparison_can_fail():
    rng = np.random.default_rng(1)
    linear, n, x = affine(rng, 4, 3), norm(rng, 4), rng.standard_normal((3, 3))
    folded = absorb_norm(linear, n)
    folded.bias[0] += 1e-9
    assert not close(apply(folded, x), apply(linear, x) * n.weight + n.bias)
