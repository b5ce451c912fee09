"""What a reader should ask to see beside a router: chance, length, and what little it takes to learn more.

All learn from the same measured outcomes as the router, one row per query. The classifiers weigh it by how
often the cloud was better over the model pairs; the others learn how much better it was on average.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.neighbors import KNeighborsRegressor

from pointsman.train.data import Example, Measured, merged
from pointsman.train.experts import all_features, ridge_opinion
from pointsman.train.teacher import Reading, embed, opinions, share_regression, shipped_encoder

_NEIGHBOURS = 50

Floats = NDArray[np.float64]


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


def encoder_scores(train: Sequence[Example], texts: Sequence[str], reading: Reading) -> Floats:
    """Logistic regression on frozen all-MiniLM-L6-v2 sentence vectors; p_cloud, float64 (texts,)."""
    known, asked = _vectors([e.query for e in train], reading), _vectors(texts, reading)
    return _regression(known, train, 3.0, asked)


def ridge_scores(train: Sequence[Measured], texts: Sequence[str]) -> Floats:
    """A ridge on words and word pairs that learned the gain, float64 (texts,)."""
    examples = merged(train, [row.gain for row in train])
    learn = np.arange(len(examples) + len(texts)) < len(examples)
    gains = np.array([*(e.p_cloud for e in examples), *np.zeros(len(texts))], np.float64)
    words = all_features([*(e.query for e in examples), *texts], learn, [])
    return ridge_opinion(words, gains, np.ones(len(gains)), learn, ~learn)


def nearest_scores(train: Sequence[Measured], texts: Sequence[str], reading: Reading) -> Floats:
    """The mean gain of the 50 training queries with the nearest MiniLM vectors, float64 (texts,)."""
    examples = merged(train, [row.gain for row in train])
    known, asked = _vectors([e.query for e in examples], reading), _vectors(texts, reading)
    model = KNeighborsRegressor(n_neighbors=min(_NEIGHBOURS, len(examples)), algorithm="brute")
    model.fit(known, [e.p_cloud for e in examples])
    found: Floats = np.concatenate([model.predict(part) for part in _parts(asked)])
    return found


def subject_scores(train: Sequence[Measured], texts: Sequence[str], subjects: Mapping[str, str]) -> Floats:
    """A table of the mean gain by subject, which it is told, float64 (texts,); no classifier can be."""
    gains: dict[str, list[float]] = {}
    for row in train:
        gains.setdefault(row.subject, []).append(row.gain)
    mean = float(np.mean([row.gain for row in train]))
    table = {subject: float(np.mean(of)) for subject, of in gains.items()}
    return np.array([table.get(subjects.get(text, ""), mean) for text in texts])


def trained_scores(train: Sequence[Measured], texts: Sequence[str], reading: Reading) -> dict[str, Floats]:
    """What is learned from the router's own training rows, by name; see each."""
    examples = merged(train, [row.is_cloud for row in train])
    return {
        "TF-IDF + LR": tfidf_scores(examples, texts),
        "MiniLM + LR": encoder_scores(examples, texts, reading),
        "word ridge on the gain": ridge_scores(train, texts),
        "MiniLM, 50 nearest": nearest_scores(train, texts, reading),
    }


def classifier_scores(checkpoint: Path, texts: Sequence[str], reading: Reading) -> Floats:
    """Any two-way classifier's p_cloud, float64 (texts,); in bfloat16, which ranks as well as float32.

    Raises:
        CheckpointError: it cannot be loaded.
    """
    found: Floats = opinions(texts, checkpoint, reading).astype(np.float64)
    return found


def _vectors(texts: Sequence[str], reading: Reading) -> NDArray[np.float32]:
    return embed(texts, shipped_encoder(), reading).astype(np.float32)


def _parts(vectors: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """The rows in parts of 1,000, whose distances to every training row fit the memory."""
    return np.array_split(vectors, -(-len(vectors) // 1000))


def _regression(features: Any, train: Sequence[Example], strength: float, ask: Any) -> Floats:
    share = np.array([e.p_cloud for e in train], np.float64)
    found: Floats = share_regression(features, share, strength).predict_proba(ask)[:, 1].astype(np.float64)
    return found
