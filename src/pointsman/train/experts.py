"""The teacher of measured difficulty: ridge regressions on the gain, experts for each family of questions.

An expert reads words and word pairs, or a sentence encoder's vectors; the opinion of a family is the mean of
its experts. What is hard in one family says little about another, so experts by family know more than one
regression over all. A text of no family gets the opinion of joint regressions, in which small families count
more than by their rows; it goes towards the mean where a text is unlike everything that was measured.
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge

from pointsman.train.data import Example
from pointsman.train.gain import FOLDS, fold_of

Floats = NDArray[np.float64]
Features: TypeAlias = "csr_matrix | NDArray[np.float32]"

_WORD_PENALTY = 3.0
_VECTOR_PENALTY = 3.0


def expert_opinions(examples: Sequence[Example], vectors: Sequence[NDArray[np.float16]], seed: int) -> Floats:
    """The experts' expected gain of every text, float64 (examples,), about 0..1.

    A measured text is judged by its family's experts, which did not learn from its fold; any other by the
    joint experts. An example that is repeated counts once.

    Args:
        vectors: of each sentence encoder, float16 (examples, width); none for words alone.
    """
    measured = np.array([e.is_measured for e in examples])
    family = np.array([e.source if e.is_measured else "" for e in examples])
    folds = np.array([fold_of(e.query, seed) if e.is_measured else -1 for e in examples])
    gains = np.array([e.p_cloud if e.is_measured else np.nan for e in examples], np.float64)
    first = np.zeros(len(examples), bool)
    first[list({(e.query, e.source): i for i, e in enumerate(examples)}.values())] = True
    features = all_features([e.query for e in examples], measured, vectors)
    found = np.empty(len(examples))
    for name in np.unique(family[measured]):
        for fold in range(FOLDS):
            ask = (family == name) & (folds == fold)
            learn = (family == name) & (folds != fold) & first
            if ask.any() and learn.any():
                found[ask] = ridge_opinion(features, gains, np.ones(len(gains)), learn, ask)
            elif ask.any():
                found[ask] = gains[ask].mean()
    if (~measured).any():
        learn = measured & first
        found[~measured] = ridge_opinion(features, gains, balanced_weights(family, learn), learn, ~measured)
    return found


def all_features(
    texts: Sequence[str], fit: NDArray[np.bool_], vectors: Sequence[NDArray[np.float16]]
) -> list[tuple[Features, float]]:
    """TF-IDF of words and word pairs (known from the texts of `fit`), and the vectors, with penalties."""
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    words.fit([text for text, chosen in zip(texts, fit, strict=True) if chosen])
    found: list[tuple[Features, float]] = [(words.transform(texts), _WORD_PENALTY)]
    return [*found, *((v.astype(np.float32), _VECTOR_PENALTY) for v in vectors)]


def ridge_opinion(
    features: Sequence[tuple[Features, float]],
    gains: Floats,
    weights: Floats,
    learn: NDArray[np.bool_],
    ask: NDArray[np.bool_],
) -> Floats:
    """The mean over the features' ridges, fitted on `learn`, of the gain of `ask`, float64 (asked,)."""
    said = []
    for matrix, penalty in features:
        model = Ridge(alpha=penalty, solver="lsqr", tol=1e-3)
        model.fit(matrix[learn], gains[learn], sample_weight=weights[learn])
        said.append(model.predict(matrix[ask]))
    mean: Floats = np.mean(said, axis=0, dtype=np.float64)
    return mean


def balanced_weights(family: NDArray[np.str_], learn: NDArray[np.bool_]) -> Floats:
    """Each family's rows by one over the root of its size, of mean 1 over `learn`, float64 (rows,)."""
    weights = np.ones(len(family))
    for name in np.unique(family[learn]):
        chosen = family == name
        weights[chosen] = 1.0 / np.sqrt((chosen & learn).sum())
    weights /= weights[learn].mean()
    return weights
