import numpy as np
import pytest

from pointsman.errors import DataError
from pointsman.evaluation.dataset import collect


def rows(*values):
    return [(f"f.jsonl:{i}", "f", value) for i, value in enumerate(values, 1)]


def test_labels_and_scores_become_outcomes():
    found = collect(
        rows(
            {"query": " a ", "label": "Cloud"},
            {"query": "b", "label": "local"},
            {"query": "c", "weak_score": 0.2, "strong_score": "0.9"},
            {"query": "d", "weak_score": 1, "strong_score": 1},
        )
    )
    assert found.queries == ("a", "b", "c", "d")
    assert found.is_cloud.tolist() == [True, False, True, False]
    assert found.weak.tolist() == [0.0, 1.0, 0.2, 1.0]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"query": "", "label": "local"}, "expected text"),
        ({"query": None, "label": "local"}, "expected text"),
        ({"query": "a", "label": "edge"}, "expected local or cloud"),
        ({"query": "a"}, "expected label"),
        ({"query": "a", "weak_score": "nan", "strong_score": 1}, "finite"),
        ({"query": "a", "weak_score": "x", "strong_score": 1}, "as numbers"),
    ],
)
def test_a_bad_row_is_told_with_its_place(row, why):
    found = collect(rows({"query": "good", "label": "local"}, row))
    assert len(found.queries) == 1
    assert found.bad[0].startswith("f.jsonl:2: ") and why in found.bad[0]


def test_nothing_usable_is_an_error_that_says_why():
    with pytest.raises(DataError, match=r"f\.jsonl:1: query"):
        collect(rows({"label": "local"}))
    with pytest.raises(DataError, match="no rows"):
        collect([])


def test_the_digest_depends_on_queries_and_outcomes():
    one = collect(rows({"query": "a", "label": "local"}))
    assert one.sha256 == collect(rows({"query": "a", "label": "local"})).sha256
    assert one.sha256 != collect(rows({"query": "a", "label": "cloud"})).sha256


def test_a_subset_keeps_rows_together():
    found = collect(rows({"query": "a", "label": "local"}, {"query": "b", "label": "cloud"}))
    kept = found.subset(np.array([False, True]))
    assert kept.queries == ("b",) and kept.is_cloud.tolist() == [True]
