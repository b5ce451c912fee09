"""The teacher: small models of the gain, weighed by how well each predicts rows that it has not seen.

Hundreds of labels are too few to train an encoder and enough for a ridge. Three predictors are combined: a
ridge on word 1/2-grams, a ridge on sentence vectors, and today's router. Their weights are non-negative least
squares on out-of-fold predictions (Breiman 1996, "Stacked regressions"), drawn towards equal weights because
the folds are small.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge

from pointsman.datasets.duplicates import hash_fraction, near_duplicate_key
from pointsman.evaluation.curve import apgr, cost_quality_curve
from pointsman.fit.rows import Floats, Rows

FOLDS = 5
_ALPHAS = (1.0, 3.0, 10.0, 30.0)
_PRIOR_ROWS = 30.0
"""Number of rows that the prior of equal weights counts as."""
ROUTER, WORDS, VECTORS = "today's router", "ridge on words", "ridge on sentence vectors"


@dataclass(frozen=True, slots=True)
class Texts:
    """What the small models read of texts.

    Attributes:
        words: TF-IDF of word 1/2-grams, sparse (texts, terms).
        vectors: sentence vectors, float32 (texts, dimensions).
        odds: log-odds of cloud under today's router, float64 (texts,).
    """

    words: Any
    vectors: NDArray[np.float32]
    odds: Floats

    def at(self, rows: NDArray[np.int64]) -> "Texts":
        """Some of the texts."""
        return Texts(self.words[rows], self.vectors[rows], self.odds[rows])


@dataclass(frozen=True, slots=True)
class Stack:
    """The combined predictor of the gain.

    Attributes:
        weights: of each predictor, scaled to its spread; at least 0.
        out_of_fold: its prediction of each row that it was fitted on, from models that had not seen the row.
        scores: APGR of every predictor, and of the stack, out of fold.
        gain: prediction of the gain of every text, float64 (texts,).
        words_gain: the ridge on words alone, float64 (texts,): what a reader should ask to see beside it.
    """

    weights: dict[str, float]
    out_of_fold: Floats
    scores: dict[str, float]
    gain: Floats
    words_gain: Floats


def word_features(texts: Sequence[str], known: Sequence[str]) -> Any:
    """TF-IDF of word 1/2-grams of `texts`, with the frequencies of `known`, sparse (texts, terms)."""
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2 if len(known) > 50 else 1, sublinear_tf=True)
    return words.fit(known).transform(texts)


def folds_of(queries: Sequence[str]) -> NDArray[np.int64]:
    """A fold for every query, near duplicates in one, int64 (queries,)."""
    return np.array([int(hash_fraction(near_duplicate_key(q), "fold") * FOLDS) for q in queries], np.int64)


def fit_stack(rows: Rows, read: Texts, everything: Texts) -> Stack:
    """Fit the small models and their weights.

    Args:
        rows: the rows to learn from.
        read: what the models read of them.
        everything: what they read of all texts that a prediction is wanted for.
    """
    folds, gain, weight = folds_of(rows.queries), rows.gain, rows.weight / rows.weight.mean()
    spread = float(read.odds.std()) or 1.0
    odds, all_odds = (texts.odds / spread for texts in (read, everything))
    known, wanted = {ROUTER: odds - odds.mean()}, {ROUTER: all_odds - odds.mean()}
    for name, x, ask in ((WORDS, read.words, everything.words), (VECTORS, read.vectors, everything.vectors)):
        alpha, unseen = _best_alpha(x, gain, weight, folds)
        model = Ridge(alpha=alpha).fit(x, gain, sample_weight=weight)
        scale = float(unseen.std()) or 1.0
        known[name] = (unseen - unseen.mean()) / scale
        wanted[name] = (model.predict(ask) - unseen.mean()) / scale
    table = np.stack(list(known.values()), axis=1)
    mean = float(np.average(gain, weights=weight))
    coefficients = _weights(table, gain - mean, weight)
    out_of_fold = mean + table @ coefficients
    scores = {name: _apgr(values, rows) for name, values in {**known, "stack": out_of_fold}.items()}
    return Stack(
        dict(zip(known, coefficients.tolist(), strict=True)),
        out_of_fold,
        scores,
        mean + np.stack(list(wanted.values()), axis=1) @ coefficients,
        wanted[WORDS],
    )


def _best_alpha(x: Any, gain: Floats, weight: Floats, folds: NDArray[np.int64]) -> tuple[float, Floats]:
    """The ridge's strength with the least error out of fold, and its predictions there."""
    best: tuple[float, float, Floats] | None = None
    for alpha in _ALPHAS:
        unseen = np.empty(len(gain))
        for fold in np.unique(folds):
            seen = folds != fold
            model = Ridge(alpha=alpha).fit(x[seen], gain[seen], sample_weight=weight[seen])
            unseen[~seen] = model.predict(x[~seen])
        error = float(np.average((unseen - gain) ** 2, weights=weight))
        if best is None or error < best[0]:
            best = (error, alpha, unseen)
    assert best is not None
    return best[1], best[2]


def _weights(table: Floats, gain: Floats, weight: Floats) -> Floats:
    """Non-negative least squares, drawn towards equal weights."""
    width = table.shape[1]
    together = table.sum(axis=1)
    equal = max(0.0, float(weight * together @ gain) / max(float(weight * together @ together), 1e-12))
    root = np.sqrt(weight)[:, None]
    pull = np.sqrt(_PRIOR_ROWS) * np.eye(width)
    left = np.vstack([root * table, pull])
    right = np.concatenate([root[:, 0] * gain, np.sqrt(_PRIOR_ROWS) * np.full(width, equal)])
    found: Floats = nnls(left, right)[0]
    return found


def _apgr(score: Floats, rows: Rows) -> float:
    return apgr(cost_quality_curve(score, rows.weak, rows.strong, rows.weight))
