"""The expected gain: how much better the large model's answer to a query is than the small one's.

One right-or-wrong of two models is mostly noise. Two levers turn a row's gain into an expectation, each a
setting of the recipe's `[target]`, and both read training rows only:

- `denoise`: a part of it is replaced by what the outcomes of other models on the same question say of it.
- `shrink`: a part of it is replaced by the mean of its subject.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from pointsman.datasets.duplicates import hash_fraction
from pointsman.datasets.reading import read_rows
from pointsman.datasets.rows import COLUMNS
from pointsman.errors import DataError
from pointsman.train.data import Measured

Floats = NDArray[np.float64]
Scores = Mapping[str, Mapping[str, float]]
"""Query to model name to score, 0..1."""

FOLDS = 5
_PENALTY = 30.0


@dataclass(frozen=True, slots=True)
class _Pair:
    """The rows of one pair of models, as arrays of one length."""

    rows: NDArray[np.intp]
    folds: NDArray[np.intp]
    subjects: NDArray[np.str_]


def fold_of(query: str, seed: int) -> int:
    """A query's fold of a cross-fit, 0..FOLDS-1; copies that differ in case or signs share it."""
    return int(hash_fraction(re.sub(r"[\W_]+", "", query.lower()) or query, f"fold{seed}") * FOLDS)


def read_scores(paths: Sequence[Path]) -> dict[str, dict[str, float]]:
    """Scores of many models by query, from files with `query` and `scores`.

    Raises:
        DataError: a file cannot be read, or a row has no scores.
    """
    found: dict[str, dict[str, float]] = {}
    for path in paths:
        for row in read_rows(path, COLUMNS, []):
            scores = row.values.get("scores")
            if not isinstance(scores, dict):
                raise DataError(f"{row.where}: expected scores by model.")
            found[row.query] = {str(name): float(score) for name, score in scores.items()}
    return found


def denoised(rows: Sequence[Measured], gains: Floats, scores: Scores, share: float, seed: int) -> Floats:
    """Gains of which `share` is a ridge's guess from the other models' outcomes, cross-fitted pair by pair.

    The ridge also knows the subject. The pair's own models are left out by name: with them the guess would
    be the row's own gain again. Rows of questions without scores stay as they are.

    Args:
        gains: float64 (rows,).
        scores: of many models, by query.
        share: 0..1.
    """
    found = gains.copy()
    for pair in sorted({row.pair for row in rows}):
        at = np.array([i for i, row in enumerate(rows) if row.pair == pair and row.query in scores], np.intp)
        if len(at) < 2 * FOLDS:
            continue
        own = {_model_key(name) for name in pair}
        names = sorted({n for i in at for n in scores[rows[i].query] if _model_key(n) not in own})
        outcomes = np.array([[scores[rows[i].query].get(n, np.nan) for n in names] for i in at], np.float64)
        part = _Pair(
            at,
            np.array([fold_of(rows[i].query, seed) for i in at], np.intp),
            np.array([rows[i].subject for i in at]),
        )
        found[at] = (1.0 - share) * gains[at] + share * _guessed(part, outcomes, gains[at])
    return found


def shrunk(rows: Sequence[Measured], gains: Floats, share: float) -> Floats:
    """Gains of which `share` is the mean over the other rows of the same subject, float64 (rows,)."""
    found = gains.copy()
    subjects = np.array([row.subject for row in rows])
    for subject in np.unique(subjects):
        chosen = subjects == subject
        others = chosen.sum() - 1
        if others:
            mean = (gains[chosen].sum() - gains[chosen]) / others
            found[chosen] = (1.0 - share) * gains[chosen] + share * mean
    return found


def _guessed(part: _Pair, outcomes: Floats, gains: Floats) -> Floats:
    """The gain as a ridge on outcomes and subject says, each fold by the others, float64 (rows,)."""
    means = np.nanmean(outcomes, axis=0)
    subject = (part.subjects[:, None] == np.unique(part.subjects)[None]).astype(np.float64)
    features = np.hstack([np.where(np.isnan(outcomes), 0.0, outcomes - means), 2.0 * subject])
    guess = np.full(len(gains), gains.mean())
    for fold in range(FOLDS):
        ask = part.folds == fold
        if ask.any() and not ask.all():
            guess[ask] = Ridge(alpha=_PENALTY).fit(features[~ask], gains[~ask]).predict(features[ask])
    return guess


def _model_key(name: str) -> str:
    """A model's name without its owner, host and spelling: one key for one model in all files."""
    bare = name.split("/")[-1].split("@")[0].lower().replace("meta-", "").replace("instruct", "inst")
    return re.sub(r"[^a-z0-9]", "", bare)
