"""Batches: every text once, little padding, bounded area."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.errors import InputError
from pointsman.runtime.batching import pad, plan_batches

lengths = st.lists(st.integers(1, 512), max_size=80)


@given(lengths)
def test_every_text_is_in_exactly_one_batch(given_lengths: list[int]) -> None:
    planned = [index for batch in plan_batches(given_lengths) for index in batch]
    assert sorted(planned) == list(range(len(given_lengths)))


@given(lengths, st.integers(1, 2000), st.integers(0, 200))
def test_area_and_padding_are_bounded(given_lengths: list[int], area: int, padding: int) -> None:
    for batch in plan_batches(given_lengths, max_batch_tokens=area, max_padding=padding):
        tokens = [given_lengths[index] for index in batch]
        whole = len(batch) * max(tokens)
        assert len(batch) == 1 or whole <= area
        assert whole - sum(tokens) <= padding


def test_no_padding_means_one_length_a_batch() -> None:
    batches = list(plan_batches([3, 5, 3, 5, 4], max_padding=0))
    assert batches == [[0, 2], [4], [1, 3]]


def test_what_is_cheaper_to_pad_than_to_split_off_stays_together() -> None:
    assert list(plan_batches([5, 9, 7, 6])) == [[0, 3, 2, 1]]
    assert list(plan_batches([5, 60])) == [[0], [1]]


def test_padding_stands_on_the_right_and_is_masked() -> None:
    ids, mask = pad([[7, 8, 9], [5]], pad_id=1)
    np.testing.assert_array_equal(ids, [[7, 8, 9], [5, 1, 1]])
    np.testing.assert_array_equal(mask, [[1, 1, 1], [1, 0, 0]])
    assert ids.dtype == mask.dtype == np.int64


@pytest.mark.parametrize("sequences", [[], [[]], [[1], []]])
def test_nothing_to_pad_is_an_error(sequences: list[list[int]]) -> None:
    with pytest.raises(InputError, match="pad"):
        pad(sequences, pad_id=0)
