"""Texts to padded batches of like length, in an order that depends on seed and epoch alone."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from pointsman.evaluation.robustness import edited

_POOL_BATCHES = 50


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's texts: example indices (rows,), input_ids and attention_mask int64 (rows, length)."""

    rows: list[int]
    input_ids: torch.Tensor
    attention_mask: torch.Tensor


def encode(tokenizer: Any, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
    """Token ids with the special ones, at most `max_tokens` a text."""
    # The tokenizer would read all of a long text before it truncates.
    encoded = tokenizer([text[: max_tokens * 50] for text in texts], truncation=True, max_length=max_tokens)
    ids: list[list[int]] = encoded["input_ids"]
    return ids


def with_edits(texts: Sequence[str], share: float, seed: int) -> list[str]:
    """The texts, a share of them edited as a user might."""
    rng = random.Random(seed)
    return [edited(text, rng) if rng.random() < share else text for text in texts]


def epoch_order(lengths: Sequence[int], batch_tokens: int, seed: int) -> list[list[int]]:
    """Indices of every text once, in batches of like length, the batches in random order.

    Args:
        batch_tokens: rows x longest length of a batch stays within this.
    """
    rng = random.Random(seed)
    order = list(range(len(lengths)))
    rng.shuffle(order)
    typical = max(1, sum(lengths) // max(1, len(lengths)))
    pool = max(1, _POOL_BATCHES * batch_tokens // typical)
    batches: list[list[int]] = []
    for start in range(0, len(order), pool):
        batches += cut(sorted(order[start : start + pool], key=lambda i: lengths[i]), lengths, batch_tokens)
    rng.shuffle(batches)
    return batches


def cut(ordered: Sequence[int], lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Indices in their order, in runs of which rows x longest length stays within `batch_tokens`."""
    batches: list[list[int]] = []
    current: list[int] = []
    for index in ordered:
        if current and (len(current) + 1) * lengths[index] > batch_tokens:
            batches.append(current)
            current = []
        current.append(index)
    return [*batches, current] if current else batches


def pad_batch(rows: list[int], ids: Sequence[Sequence[int]]) -> Batch:
    """Right-pad the rows' token ids with 0."""
    length = max(len(ids[row]) for row in rows)
    input_ids = torch.zeros((len(rows), length), dtype=torch.long)
    mask = torch.zeros_like(input_ids)
    for at, row in enumerate(rows):
        input_ids[at, : len(ids[row])] = torch.tensor(ids[row])
        mask[at, : len(ids[row])] = 1
    return Batch(rows, input_ids, mask)
