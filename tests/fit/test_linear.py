"""The ridge on the gain: what it finds, what it must not see, what the router is given."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_matrix, diags
from threadpoolctl import threadpool_limits

from pointsman.fit import linear
from pointsman.fit.linear import fit_gain, word_ridge
from pointsman.fit.reading import Read
from pointsman.fit.rows import FOLDS, Rows

TOKENS = 40


@pytest.fixture(autouse=True)
def one_thread():
    """As `learn` does: threads would wait for each other."""
    with threadpool_limits(1, "blas"):
        yield


def made(seed: int, count: int = 300) -> tuple[Read, Rows]:
    """Texts of six of forty tokens; the rows have no truth yet."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, TOKENS, (count, 6))
    places = (np.repeat(np.arange(count), 6), ids.ravel())
    words = csr_matrix((np.full(count * 6, 1 / np.sqrt(6)), places), (count, TOKENS))
    read = Read(rng.normal(size=count), words)
    queries = tuple(" ".join(f"w{token}" for token in row) for row in ids)
    nothing = np.zeros(count)
    folds = rng.integers(0, FOLDS, count)
    return read, Rows(queries, nothing, nothing, np.ones(count), folds, ({},) * count)


def of_many_lengths(seed: int, read: Read) -> Read:
    """The same texts as if each had up to a hundred tokens."""
    roots = np.sqrt(np.random.default_rng(seed).integers(1, 100, len(read.odds)))
    return replace(read, words=csr_matrix(diags(roots / np.sqrt(6)) @ read.words))


def judged(rows: Rows, needed: np.ndarray) -> Rows:
    """The rows, where the cloud is needed with a score above its median."""
    return replace(rows, weak=(needed <= np.median(needed)).astype(float), strong=np.ones(len(needed)))


def token_meanings(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(TOKENS, 4))


@pytest.mark.parametrize("seed", range(3))
def test_it_finds_a_truth_that_lies_in_the_words(seed):
    read, rows = made(seed)
    truth = read.words @ np.random.default_rng(seed + 9).normal(size=TOKENS)
    fitted = fit_gain(read, token_meanings(), judged(rows, truth))
    assert fitted.from_words > 0.7
    assert np.corrcoef(fitted.margins, truth)[0, 1] > 0.6
    assert np.corrcoef(fitted.change.margins(read), truth)[0, 1] > 0.7


@pytest.mark.parametrize("seed", range(3))
def test_it_leaves_a_base_that_knows_the_truth_as_it_is(seed):
    read, rows = made(seed)
    noise = np.random.default_rng(seed).normal(size=len(rows.queries))
    fitted = fit_gain(read, token_meanings(), judged(rows, read.odds + 0.3 * noise))
    assert fitted.from_words < 0.3
    assert np.corrcoef(fitted.change.margins(read), read.odds)[0, 1] > 0.95


@pytest.mark.parametrize("seed", range(3))
def test_it_finds_a_truth_that_lies_in_the_length(seed):
    read, rows = made(seed)
    read = of_many_lengths(seed, read)
    truth = np.asarray(read.words.sum(axis=1)).ravel()
    fitted = fit_gain(read, token_meanings(), judged(rows, truth))
    assert np.corrcoef(fitted.margins, truth)[0, 1] > 0.8


@pytest.mark.parametrize("fold", range(FOLDS))
def test_the_scores_of_a_fold_do_not_reach_its_own_margins(fold):
    read, rows = made(1)
    rows = judged(rows, read.words @ np.arange(TOKENS))
    own = rows.fold == fold
    turned = replace(rows, weak=np.where(own, 1.0 - rows.weak, rows.weak))
    before, after = (fit_gain(read, token_meanings(), one).margins[own] for one in (rows, turned))
    # Only the mean of all scores is common to the folds.
    assert np.allclose(before - before.mean(), after - after.mean())


@pytest.mark.parametrize("truth", ["odds", "words", "length"])
def test_the_change_says_what_the_ridges_say(truth):
    read, rows = made(2)
    read = of_many_lengths(2, read) if truth == "length" else read
    rows = judged(rows, read.odds if truth == "odds" else read.words @ np.arange(TOKENS))
    columns, everything = linear._Columns(read, token_meanings()), np.arange(len(rows.queries))
    answer = linear._ridge(columns, rows, everything)
    assert np.allclose(columns.change(answer).margins(read), answer.mean + columns.said(answer, everything))


def test_a_row_teaches_as_one_whatever_it_stands_for():
    read, rows = made(3)
    rows = judged(rows, read.odds)
    heavy = replace(rows, weight=np.where(rows.fold == 0, 9.0, 1.0))
    one, other = (fit_gain(read, token_meanings(), found).margins for found in (rows, heavy))
    np.testing.assert_array_equal(one, other)


def test_log_odds_that_hardly_spread_are_not_blown_up():
    read, rows = made(4)
    flat = replace(read, odds=read.odds * 1e-6)
    fitted = fit_gain(flat, token_meanings(), judged(rows, read.words @ np.arange(TOKENS)))
    assert abs(fitted.change.odds) < 10


def test_many_rows_are_weighed_on_some_and_fitted_on_all(monkeypatch):
    monkeypatch.setattr(linear, "_MOST_TO_WEIGH", 100)
    read, rows = made(4)
    truth = read.words @ np.random.default_rng(1).normal(size=TOKENS)
    fitted = fit_gain(read, token_meanings(), judged(rows, truth))
    assert np.corrcoef(fitted.margins, truth)[0, 1] > 0.5


def test_the_word_ridge_has_not_seen_a_rows_fold():
    _, rows = made(5)
    rows = judged(rows, np.array([" w1" in query for query in rows.queries], float) + rows.fold * 1e-3)
    said = word_ridge(rows)
    turned = replace(rows, weak=np.where(rows.fold == 1, 1.0 - rows.weak, rows.weak))
    assert np.allclose(said[rows.fold == 1], word_ridge(turned)[rows.fold == 1])


def test_nothing_to_learn_is_no_order_turned_round():
    """The mean of the other folds is low where a fold's scores are high; it must not rank the rows."""
    read, rows = made(6)
    rows = replace(rows, strong=(rows.fold < 2).astype(float))
    for said in (fit_gain(read, token_meanings(), rows).margins, word_ridge(rows)):
        assert np.corrcoef(said, rows.gain)[0, 1] > -0.3
