"""A ridge on the gain over the base's log-odds, the words and the length, which the router can carry exactly.

Hundreds of labels are too few to train an encoder and enough for a ridge. It reads the base's log-odds, the
tokens, the base's own vectors of the tokens, by which words that mean the same count alike, and the root of
the number of tokens. How strong it is, and how much it trusts the base, is not chosen: ridges of many
settings are averaged by how probable each makes the scores (evidence: MacKay 1992, "Bayesian Interpolation").
A choice on held-out folds swings too much with 400 rows: of settings, and of the ridge or the base alone.
"""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import diags
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge

from pointsman.fit.reading import Change, Read
from pointsman.fit.rows import Floats, Rows

_PENALTIES = (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
_TRUST = (0.3, 1.0, 3.0, 30.0)
"""Variances of the base's log-odds."""
_OWN, _ALIKE, _LENGTH = 2.0, 1.0, 0.1
"""Variances of the tokens, of their vectors, of the length: chosen on draws that no figure is of."""
_LEAST_SPREAD = 0.25
"""Log-odds that spread less say nothing, and are not blown up."""
_LEAST_SHARE = 0.01
MOST_ROWS, _MOST_TO_WEIGH = 4000, 2000
"""A ridge is solved in the space of its rows: time grows with their cube and memory with their square."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Fit:
    """A ridge, and what it says of rows that it has not seen.

    Attributes:
        change: what the router has to answer: the expected gain.
        margins: the same of every row, by ridges that were weighed and fitted without the row's fold, float64
            (rows,).
        from_words: share of the change's spread that comes from the words, 0..1.
    """

    change: Change
    margins: Floats
    from_words: float

    def times(self, scale: float) -> "Fit":
        """The same ranking, on another scale."""
        return replace(self, change=self.change.times(scale), margins=self.margins * scale)


def fit_gain(read: Read, meanings: Floats, rows: Rows) -> Fit:
    """Fit the ridge.

    Args:
        read: what the base makes of the rows.
        meanings: the base's vector of every token, float64 (vocabulary, width).
        rows: with their scores and folds.
    """
    columns = _Columns(read, meanings)
    everything, unseen = np.arange(len(rows.queries)), np.empty(len(rows.queries))
    for fold in np.unique(rows.fold):
        own = rows.fold == fold
        answer = _ridge(columns, rows, everything[~own])
        unseen[own] = columns.said(answer, everything[~own])[own]
    answer = _ridge(columns, rows, everything)
    # Not each ridge's own mean: it is low where the fold's scores are high, and would turn the order round.
    unseen += answer.mean
    change = columns.change(answer)
    spread = {
        "odds": float((change.odds * read.odds).std()),
        "words": float((read.words @ change.words).std()),
    }
    return Fit(change, unseen, spread["words"] / max(sum(spread.values()), 1e-12))


@dataclass(frozen=True, slots=True)
class _Answer:
    """Ridges' average: what each known row adds, by its log-odds and by its words, float64 (known,)."""

    mean: float
    odds: Floats
    words: Floats


class _Columns:
    """Log-odds, words and lengths of rows as centred columns, and the way back to a change."""

    def __init__(self, read: Read, meanings: Floats) -> None:
        count, seen = read.words.shape[0], np.asarray((read.words > 0).sum(axis=0)).ravel()
        self._rarity = 1.0 + np.log((1.0 + count) / (1.0 + seen))
        self._tokens, self._meanings = np.flatnonzero(seen), meanings - meanings.mean(axis=0)
        rare = read.words @ diags(self._rarity)
        own, alike = np.asarray(rare[:, self._tokens].todense()), rare @ self._meanings
        # One weight for every token sums to the root of their number.
        parts = own, alike, np.asarray(read.words.sum(axis=1))
        self._centres = [part.mean(axis=0) for part in parts]
        self._parts = [part - centre for part, centre in zip(parts, self._centres, strict=True)]
        self._scales = [
            variance / max(float((part**2).sum(axis=1).mean()), 1e-12)
            for part, variance in zip(self._parts, (_OWN, _ALIKE, _LENGTH), strict=True)
        ]
        self._middle, self._spread = float(read.odds.mean()), max(float(read.odds.std()), _LEAST_SPREAD)
        self._odds = (read.odds - self._middle) / self._spread
        self.odds = np.outer(self._odds, self._odds)
        self.words: Floats = sum(
            (scale * part @ part.T for part, scale in zip(self._parts, self._scales, strict=True)),
            np.zeros(self.odds.shape),
        )

    def said(self, answer: _Answer, known: Ints) -> Floats:
        """What an answer adds to its mean, for every row, float64 (rows,)."""
        found: Floats = self.odds[:, known] @ answer.odds + self.words[:, known] @ answer.words
        return found

    def change(self, answer: _Answer) -> Change:
        """The change whose margins are the answer of all rows."""
        weights = [
            scale * part.T @ answer.words for part, scale in zip(self._parts, self._scales, strict=True)
        ]
        own, alike, length = weights
        words = self._meanings @ alike
        words[self._tokens] += own
        odds = float(self._odds @ answer.odds) / self._spread
        centre = sum(float(at @ by) for at, by in zip(self._centres, weights, strict=True))
        return Change(odds, self._rarity * words + length, answer.mean - odds * self._middle - centre)


def _ridge(columns: _Columns, rows: Rows, known: Ints) -> _Answer:
    """The average of the ridges on some rows, each by its share of the evidence.

    A row counts once, whatever it stands for: it is one judgement. Weights made a sample's router worse.
    """
    mean = float(rows.gain[known].mean())

    def solved(trust: float, penalty: float, chosen: Ints) -> tuple[Floats, float]:
        """What each chosen row adds, and the log of the evidence but for a constant."""
        at, wanted = np.ix_(chosen, chosen), rows.gain[chosen] - mean
        covariance = trust * columns.odds[at] + columns.words[at] + penalty * np.eye(len(chosen))
        factor = cho_factor(covariance)
        dual = cho_solve(factor, wanted)
        size = max(float(wanted @ dual), 1e-12) / len(chosen)
        return dual, -0.5 * len(chosen) * np.log(size) - float(np.log(np.diag(factor[0])).sum())

    some = known[:: len(known) // _MOST_TO_WEIGH + 1]
    settings = list(product(_TRUST, _PENALTIES))
    evidence = np.array([solved(*setting, some)[1] for setting in settings])
    shares = np.exp(evidence - evidence.max())
    shares[shares < _LEAST_SHARE * shares.sum()] = 0.0
    odds, words = np.zeros(len(known)), np.zeros(len(known))
    for (trust, penalty), share in zip(settings, shares / shares.sum(), strict=True):
        if share:
            dual = share * solved(trust, penalty, known)[0]
            odds, words = odds + trust * dual, words + dual
    return _Answer(mean, odds, words)


def word_ridge(rows: Rows) -> Floats:
    """What a reader would try first: a ridge on TF-IDF of word 1/2-grams, without each row's fold."""
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2 if len(rows.queries) > 50 else 1, sublinear_tf=True)
    read, said = words.fit_transform(rows.queries), np.empty(len(rows.queries))
    for fold in np.unique(rows.fold):
        left = rows.fold != fold
        model = Ridge(alpha=1.0).fit(read[left], rows.gain[left])
        said[~left] = model.predict(read[~left]) - model.predict(read[left]).mean()
    return said
