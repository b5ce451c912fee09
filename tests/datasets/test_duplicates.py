"""Rows that a router was made from are known again by their digests."""

import pytest

from pointsman.datasets.duplicates import SKETCH_SIZE, row_sketch, share_in


def texts(begin: int, end: int) -> list[str]:
    return [f"Query number {i}" for i in range(begin, end)]


def test_few_rows_are_known_exactly() -> None:
    sketch = row_sketch(texts(0, 100))
    assert share_in(texts(0, 100), sketch) == 1.0
    assert share_in(texts(50, 150), sketch) == 0.5
    assert share_in(texts(100, 200), sketch) == 0.0
    assert share_in(["query NUMBER 7!"], sketch) == 1.0


def test_many_rows_are_known_by_a_sample_of_a_fixed_size() -> None:
    sketch = row_sketch(texts(0, 50_000))
    assert len(sketch) == SKETCH_SIZE
    assert share_in(texts(0, 50_000), sketch) == 1.0
    assert share_in(texts(25_000, 75_000), sketch) == pytest.approx(0.5, abs=0.05)
    assert share_in(texts(50_000, 60_000), sketch) == 0.0


def test_nothing_is_known_of_no_rows() -> None:
    assert share_in([], row_sketch(texts(0, 9))) == 0.0
    assert share_in(texts(0, 9), row_sketch([])) == 0.0


def test_a_sketch_holds_no_text() -> None:
    assert all(len(one) == 10 and set(one) <= set("0123456789abcdef") for one in row_sketch(texts(0, 50)))
