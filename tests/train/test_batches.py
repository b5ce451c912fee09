import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.train.batches import epoch_order, pad_batch, with_edits

pytestmark = pytest.mark.torch


@given(st.lists(st.integers(2, 128), min_size=1, max_size=400), st.integers(128, 4096), st.integers(0, 9))
def test_an_epoch_reads_every_text_once_within_the_budget(lengths, batch_tokens, seed):
    batches = epoch_order(lengths, batch_tokens, seed)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    assert all(len(batch) * max(lengths[row] for row in batch) <= batch_tokens for batch in batches)
    assert batches == epoch_order(lengths, batch_tokens, seed)


def test_little_is_padded():
    rng = random.Random(1)
    lengths = [rng.randint(4, 128) for _ in range(5000)]
    padded = sum(len(b) * max(lengths[r] for r in b) for b in epoch_order(lengths, 4096, 0))
    assert padded < 1.1 * sum(lengths)


def test_another_seed_is_another_order():
    lengths = list(range(4, 100))
    assert epoch_order(lengths, 512, 1) != epoch_order(lengths, 512, 2)


def test_padding_is_on_the_right_and_masked():
    batch = pad_batch([2, 0], [[5, 6], [7], [8, 9, 10]])
    assert batch.input_ids.tolist() == [[8, 9, 10], [5, 6, 0]]
    assert batch.attention_mask.tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch.rows == [2, 0]


def test_edits_touch_about_the_share_asked_for_and_repeat_by_seed():
    texts = [f"Could you tell me about number {i}?" for i in range(400)]
    edited = with_edits(texts, 0.25, seed=3)
    changed = sum(a != b for a, b in zip(texts, edited, strict=True))
    assert 60 < changed < 140
    assert edited == with_edits(texts, 0.25, seed=3)
    assert with_edits(texts, 0.0, seed=3) == texts
