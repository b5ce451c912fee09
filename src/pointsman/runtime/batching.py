"""Lengths to batches, and order restored: pure arithmetic on numbers, no text, no model, no clock.

Texts of like length go together, so almost nothing is padded; rows x length is bounded, so memory is too.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pointsman.errors import InputError

MAX_BATCH_TOKENS = 512
"""Larger batches are no faster on one thread, and leave other threads without work."""
MAX_PADDING = 16
"""Tokens: what a run of its own costs beside its tokens. Fewer are cheaper to pad than to split off."""


def plan_batches(
    lengths: Sequence[int],
    *,
    max_batch_tokens: int = MAX_BATCH_TOKENS,
    max_padding: int = MAX_PADDING,
) -> Iterator[list[int]]:
    """Group indices of texts so that every batch is small and hardly padded.

    Args:
        lengths: tokens per text, each at least 1.
        max_batch_tokens: rows x longest length of a batch stays within this (a single text always fits).
        max_padding: tokens of padding in a batch stay within this; 0 keeps equal lengths together.

    Yields:
        Indices into `lengths`, every one exactly once, shortest texts first.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    batch: list[int] = []
    tokens = 0
    for index in order:
        length = lengths[index]
        area = (len(batch) + 1) * length
        if batch and (area > max_batch_tokens or area - tokens - length > max_padding):
            yield batch
            batch, tokens = [], 0
        batch.append(index)
        tokens += length
    if batch:
        yield batch


def pad(sequences: Sequence[Sequence[int]], *, pad_id: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Right-pad token sequences into one batch.

    Args:
        sequences: token ids, one sequence a text, each at least 1 long.

    Returns:
        input_ids       int64 (batch, length)
        attention_mask  int64 (batch, length); 1 on tokens, 0 on padding

    Raises:
        InputError: no sequences, or an empty one.
    """
    if not sequences or not all(sequences):
        raise InputError("pad: expected at least one sequence, and none empty.")
    length = max(map(len, sequences))
    input_ids = np.full((len(sequences), length), pad_id, dtype=np.int64)
    attention_mask = np.zeros((len(sequences), length), dtype=np.int64)
    for row, sequence in enumerate(sequences):
        input_ids[row, : len(sequence)] = sequence
        attention_mask[row, : len(sequence)] = 1
    return input_ids, attention_mask
