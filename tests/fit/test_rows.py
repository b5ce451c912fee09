"""Scored rows and their folds."""

import numpy as np
import pytest

from pointsman.errors import DataError
from pointsman.fit.rows import FOLDS, Rows, read_rows, require_both_kinds
from pointsman.traffic.log import query_id
from pointsman.traffic.work import Query, Work


def fill(work: Work, queries: list[str], **columns: object) -> None:
    for query in queries:
        messages = [{"role": "user", "content": query}]
        work.add_queries([Query(query_id(messages), query, messages, columns, 1, 1.0)])
        work.judge(query_id(messages), 0.0, 1.0, {})


def rows_of(better: list[bool], fold: list[int]) -> Rows:
    count = len(better)
    strong = np.array(better, float)
    return Rows(("q",) * count, np.zeros(count), strong, np.ones(count), np.array(fold), ({},) * count)


def test_near_duplicates_are_in_one_fold_and_later_rows_move_none(tmp_path):
    queries = [f"what is the answer to {number}" for number in range(60)]
    with Work.open(tmp_path, create=True) as work:
        fill(work, queries)
        before = read_rows(work)
        fill(work, [f"{query}??" for query in queries])
        after = read_rows(work)
    fold = dict(zip(after.queries, after.fold, strict=True))
    assert all(fold[query] == before.fold[at] for at, query in enumerate(before.queries))
    assert all(fold[query] == fold[f"{query}??"] for query in queries)
    assert set(fold.values()) == set(range(FOLDS))


def test_a_group_is_in_one_fold(tmp_path):
    with Work.open(tmp_path, create=True) as work:
        for customer in range(30):
            fill(work, [f"{customer} asks {number}" for number in range(4)], customer=customer)
        rows = read_rows(work, "customer")
        with pytest.raises(DataError, match="--group month"):
            read_rows(work, "month")
    by_customer = rows.fold.reshape(30, 4)
    assert (by_customer == by_customer[:, :1]).all()
    assert len(set(rows.fold)) == FOLDS


@pytest.mark.parametrize(
    ("better", "fold"),
    [([True] * 20, [0, 1, 2, 3, 4] * 4), ([True] * 4 + [False] * 16, [0] * 4 + [1, 2, 3, 4] * 4)],
    ids=["one kind", "one kind in one fold"],
)
def test_rows_that_cannot_teach_are_refused(better, fold):
    with pytest.raises(DataError, match="of each kind"):
        require_both_kinds(rows_of(better, fold))


def test_rows_of_both_kinds_are_taken():
    require_both_kinds(rows_of([True, False] * 10, [0, 1, 2, 3, 4] * 4))
