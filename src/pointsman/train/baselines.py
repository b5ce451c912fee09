"""What a reader should ask to see beside a router: chance, length, and two simple classifiers.

The classifiers learn from the same measured outcomes as the router, one row per query, weighted by how
often the cloud was better over the model pairs.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from pointsman.train.data import Example
from pointsman.train.teacher import embed, opinions, shipped_encoder

_MOST_ITERATIONS = 400
_BATCH_TOKENS = 8192

Floats = NDArray[np.float64]
Progress = Callable[[str], None]


def random_scores(texts: Sequence[str], seed: int) -> Floats:
    """A coin for each text, float64 (texts,), 0..1."""
    return np.random.default_rng(seed).random(len(texts))


def length_scores(texts: Sequence[str]) -> Floats:
    """The number of characters, float64 (texts,): exam questions are harder where they are longer."""
    return np.array([len(text) for text in texts], np.float64)


def tfidf_scores(train: Sequence[Example], texts: Sequence[str]) -> Floats:
    """Logistic regression on word and word-pair TF-IDF; p_cloud, float64 (texts,)."""
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    features = words.fit_transform([e.query for e in train])
    return _regression(features, train, 1.0, words.transform(texts))


def encoder_scores(
    train: Sequence[Example], texts: Sequence[str], cache: Path, max_tokens: int, progress: Progress
) -> Floats:
    """Logistic regression on frozen all-MiniLM-L6-v2 sentence vectors; p_cloud, float64 (texts,)."""

    def vectors(of: Sequence[str]) -> NDArray[np.float32]:
        unique, rows = _distinct(of)
        reading = {"max_tokens": max_tokens, "batch_tokens": _BATCH_TOKENS}
        found = embed(unique, shipped_encoder(), cache, **reading, progress=progress)
        return found[rows].astype(np.float32)

    return _regression(vectors([e.query for e in train]), train, 3.0, vectors(texts))


def classifier_scores(
    checkpoint: Path, texts: Sequence[str], cache: Path, max_tokens: int, progress: Progress
) -> Floats:
    """Any two-way classifier's p_cloud, float64 (texts,); in bfloat16, which ranks as well as float32.

    Raises:
        CheckpointError: it cannot be loaded.
    """
    unique, rows = _distinct(texts)
    reading = {"max_tokens": max_tokens, "batch_tokens": _BATCH_TOKENS}
    found: Floats = opinions(unique, checkpoint, cache, **reading, progress=progress)[rows].astype(np.float64)
    return found


def _distinct(texts: Sequence[str]) -> tuple[list[str], list[int]]:
    """Every text once, and for each of `texts` its place among those."""
    place = {text: index for index, text in enumerate(dict.fromkeys(texts))}
    return list(place), [place[text] for text in texts]


def _regression(features: object, train: Sequence[Example], strength: float, ask: object) -> Floats:
    share = np.array([e.p_cloud for e in train], np.float64)
    rows = np.arange(len(train))
    # A share is two weighted rows, one of each class; rows of no weight are left out.
    both = np.concatenate([rows, rows])
    y = np.repeat([1, 0], len(train))
    weight = np.concatenate([share, 1.0 - share])
    kept = weight > 0.0
    model = LogisticRegression(C=strength, max_iter=_MOST_ITERATIONS)
    model.fit(features[both[kept]], y[kept], sample_weight=weight[kept])  # type: ignore[index]
    found: Floats = model.predict_proba(ask)[:, 1].astype(np.float64)
    return found
