import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pointsman.datasets.outcomes import Dataset, read_dataset
from pointsman.datasets.rows import COLUMNS, Columns
from pointsman.errors import DataError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "f.jsonl"


def read(file: Path, *rows: dict[str, Any], columns: Columns = COLUMNS) -> Dataset:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return read_dataset([file], columns)


def test_labels_and_scores_become_outcomes(file: Path) -> None:
    found = read(
        file,
        {"query": " a ", "label": "Cloud"},
        {"query": "b", "label": "local"},
        {"query": "c", "weak_score": 0.2, "strong_score": "0.9"},
        {"query": "d", "weak_score": 1, "strong_score": 1},
    )
    assert found.queries == ("a", "b", "c", "d")
    assert found.is_cloud.tolist() == [True, False, True, False]
    assert found.weak.tolist() == [0.0, 1.0, 0.2, 1.0]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"query": " ", "label": "local"}, "no text in column"),
        ({"query": None, "label": "local"}, "no value in column"),
        ({"query": 3, "label": "local"}, "expected a string"),
        ({"label": "local"}, "no value in column"),
        ({"query": "a", "label": "edge"}, "expected local or cloud"),
        ({"query": "a"}, "expected label"),
        ({"query": "a", "weak_score": 1}, "as numbers"),
        ({"query": "a", "weak_score": "nan", "strong_score": 1}, "finite"),
        ({"query": "a", "weak_score": "x", "strong_score": 1}, "as numbers"),
    ],
)
def test_a_bad_row_is_told_with_its_place(file: Path, row: dict[str, Any], why: str) -> None:
    found = read(file, {"query": "good", "label": "local"}, row)
    assert len(found.queries) == 1
    assert found.bad[0].startswith("f.jsonl:2: ") and why in found.bad[0]


def test_nothing_usable_is_an_error_that_says_why(file: Path) -> None:
    with pytest.raises(DataError, match=r"f\.jsonl:1: label"):
        read(file, {"query": "a", "label": "edge"})
    with pytest.raises(DataError, match="no rows"):
        read(file)


@pytest.mark.parametrize(
    ("local", "cloud"),
    [("easy", "hard"), (0, 1), (0.0, 2.0), (True, False), ("Einfach", "schwer"), ("0", "5")],
)
def test_a_label_of_any_kind_can_mean_local(file: Path, local: Any, cloud: Any) -> None:
    rows = ({"text": "a", "kind": local}, {"text": "b", "kind": cloud}, {"text": "c", "kind": cloud})
    for said in (str(local), f" {str(local).upper()}"):
        assert read(file, *rows, columns=Columns("text", "kind", said)).is_cloud.tolist() == [
            False,
            True,
            True,
        ]


def test_a_label_that_no_row_has_is_refused_with_those_found(file: Path) -> None:
    rows = ({"query": "a", "label": "easy"}, {"query": "b", "label": "hard"})
    with pytest.raises(DataError, match=r"no row is labelled 'simple'.*\['easy', 'hard'\]"):
        read(file, *rows, columns=Columns(local_when="simple"))


def test_a_missing_label_column_is_named_once_with_those_found(file: Path) -> None:
    rows = [{"query": f"q{i}", "answer": "x", "weak_score": 1} for i in range(50)]
    with pytest.raises(DataError) as caught:
        read(file, *rows)
    assert "no column 'label', nor weak_score with strong_score; found ['query', 'answer'" in str(
        caught.value
    )
    assert len(str(caught.value)) < 400 + len(str(file))


def test_the_digest_depends_on_queries_and_outcomes(file: Path) -> None:
    one = read(file, {"query": "a", "label": "local"})
    assert one.sha256 == read(file, {"query": "a", "label": "local"}).sha256
    assert one.sha256 != read(file, {"query": "a", "label": "cloud"}).sha256


def test_a_subset_keeps_rows_together(file: Path) -> None:
    found = read(file, {"query": "a", "label": "local"}, {"query": "b", "label": "cloud"})
    kept = found.subset(np.array([False, True]))
    assert kept.queries == ("b",) and kept.is_cloud.tolist() == [True]


@pytest.mark.parametrize(("text", "score"), [("0,7", 0.7), (" 0,125", 0.125), ("1.5", 1.5), ("1e-1", 0.1)])
def test_decimals_follow_a_point_or_a_comma(file: Path, text: str, score: float) -> None:
    assert read(file, {"query": "a", "weak_score": 0, "strong_score": text}).strong.tolist() == [score]


@pytest.mark.parametrize("text", ["1,000", "12,000,000", "1,2,3", "a"])
def test_what_may_be_a_thousand_is_a_bad_row(file: Path, text: str) -> None:
    good = {"query": "good", "label": "local"}
    found = read(file, good, {"query": "a", "weak_score": 0, "strong_score": text})
    assert len(found.bad) == 1 and "as numbers" in found.bad[0]


def test_a_table_with_two_columns_of_one_name_is_refused(tmp_path: Path) -> None:
    columns = [pa.array(["a"]), pa.array(["local"]), pa.array(["cloud"])]
    pq.write_table(pa.table(columns, names=["query", "label", "label"]), tmp_path / "q.parquet")
    with pytest.raises(DataError, match=r"columns named twice: \['label'\]"):
        read_dataset([tmp_path / "q.parquet"], Columns())
