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


@pytest.mark.parametrize(
    ("better", "said"), [(True, "always the cloud is the answer"), (False, "the local model alone")]
)
def test_rows_of_one_kind_say_what_to_do_without_a_router(better, said):
    with pytest.raises(DataError, match=said):
        require_both_kinds(rows_of([better] * 200, [0, 1, 2, 3, 4] * 40))


@pytest.mark.parametrize("gap", [{}, *({"customer": value} for value in (None, "", "  ", float("nan")))])
def test_rows_without_a_group_are_split_by_their_text(tmp_path, gap):
    with Work.open(tmp_path, create=True) as work:
        fill(work, [f"question {number} of somebody" for number in range(40)], **gap)
        fill(work, ["asked by a customer", "asked by the same one"], customer="a")
        rows = read_rows(work, "customer")
        alone = read_rows(work)
    assert len(set(rows.fold)) == FOLDS
    assert (rows.fold[:40] == alone.fold[:40]).all()
    assert rows.fold[40] == rows.fold[41]


def test_a_group_of_one_value_is_refused_with_its_name(tmp_path):
    with Work.open(tmp_path, create=True) as work:
        fill(work, [f"question {number}" for number in range(40)], month="2026-11")
        with pytest.raises(DataError, match="--group month: all rows have one value, '2026-11'"):
            read_rows(work, "month")


def test_rows_of_both_kinds_are_taken():
    require_both_kinds(rows_of([True, False] * 10, [0, 1, 2, 3, 4] * 4))
