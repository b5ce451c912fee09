"""Words are rounded for what reads them: the product is nearer than by plain rounding."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pointsman.convert.word_rounding import round_words


def case(seed, times=3, vocabulary=200, channels=24):
    rng = np.random.default_rng(seed)
    words = rng.standard_normal((vocabulary, channels)).astype(np.float32)
    words[0] = 0.0
    # A trained reader looks at some directions far more than at others.
    reader = rng.standard_normal((40, times * channels)) * np.tile(
        10.0 ** rng.uniform(-1, 1, channels), times
    )
    reader[:, :channels] += np.outer(rng.standard_normal(40), rng.standard_normal(channels)) * 5
    return words, np.abs(words).max(axis=0).astype(np.float64) / 127, reader


def read_error(words, scale, integers, reader):
    wrong = scale * integers - words
    parts = np.split(reader, reader.shape[1] // words.shape[1], axis=1)
    return sum(float(np.square(wrong @ part.T).sum()) for part in parts)


@given(st.integers(0, 2**32 - 1), st.integers(1, 3))
def test_the_product_is_nearer_than_by_rounding_to_the_nearest_step(seed, times):
    words, scale, reader = case(seed, times)
    nearest = np.rint(words / scale).astype(np.int8)
    rounded = round_words(words, scale, reader)
    assert rounded.dtype == np.int8
    assert read_error(words, scale, rounded, reader) < read_error(words, scale, nearest, reader)


def test_a_word_of_zeros_stays_zero():
    words, scale, reader = case(1)
    assert not round_words(words, scale, reader)[0].any()


def test_a_reader_of_nothing_gets_the_nearest_steps():
    words, scale, reader = case(2)
    np.testing.assert_array_equal(round_words(words, scale, 0 * reader), np.rint(words / scale))
