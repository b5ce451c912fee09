"""Rows with an outcome, as arrays: what a router is trained, evaluated and calibrated on."""

import contextlib
import hashlib
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointsman.datasets.reading import Row, no_rows, read_rows
from pointsman.datasets.rows import Columns
from pointsman.errors import DataError
from pointsman.labels import CLOUD, TARGETS

WEAK, STRONG = "weak_score", "strong_score"
JUDGEMENT = "judgement"
"""A column of rows that `pointsman judge` wrote: their `weight` is the number of rows of a log."""
FEWEST_ROWS = 20
"""Nothing is learned, chosen or measured on fewer rows."""
FEW_ROWS = 200
"""On fewer rows a figure moves by several percent with the next row: that is said."""
_SHOWN_LABELS = 8
_THOUSANDS = re.compile(r"-?[1-9]\d{0,2}(,\d{3})+")


@dataclass(frozen=True, slots=True)
class Outcome:
    """A row, and the quality of the weak and of the strong model's answer."""

    row: Row
    weak: float
    strong: float

    @property
    def is_cloud(self) -> bool:
        """Whether the strong answer was better."""
        return self.strong > self.weak


@dataclass(frozen=True, slots=True)
class Dataset:
    """Queries with their outcomes, in the order they were read.

    A row with a label alone stands for a weak model that fails what needs the cloud, and a strong one that
    fails nothing; so "quality" is then the share of needs that were met.

    Attributes:
        group: what a row is counted under, for example its file.
        weak: quality of the weak model's answer, float64 (rows,); NaN in all rows where nothing is known.
        strong: of the strong model's, float64 (rows,); the same.
        bad: rows that could not be used, each with where and why.
        weight: how many queries each row stands for, above 0, float64 (rows,); None counts all alike.
    """

    queries: tuple[str, ...]
    group: NDArray[np.str_]
    weak: NDArray[np.float64]
    strong: NDArray[np.float64]
    bad: tuple[str, ...] = ()
    weight: NDArray[np.float64] | None = None

    @property
    def is_cloud(self) -> NDArray[np.bool_]:
        """Whether the strong answer was better, bool (rows,)."""
        return self.strong > self.weak

    @property
    def has_outcomes(self) -> bool:
        """Whether anything is known of the rows but their texts and weights."""
        return not np.isnan(self.weak).any()

    def weight_of(self, rows: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """The weights of drawn rows, int64 (drawn,)."""
        return None if self.weight is None else self.weight[rows]

    @property
    def sha256(self) -> str:
        """Digest of queries and outcomes, in order."""
        digest = hashlib.sha256()
        for query, weak, strong in zip(self.queries, self.weak, self.strong, strict=True):
            digest.update(f"{query}\0{weak:.6f}\0{strong:.6f}\0".encode("utf-8", "replace"))
        return digest.hexdigest()

    def subset(self, keep: NDArray[np.bool_]) -> "Dataset":
        """The rows where `keep`, bool (rows,), is true."""
        queries = tuple(q for q, k in zip(self.queries, keep, strict=True) if k)
        weight = None if self.weight is None else self.weight[keep]
        return Dataset(queries, self.group[keep], self.weak[keep], self.strong[keep], self.bad, weight)


def read_dataset(paths: Sequence[Path], columns: Columns) -> Dataset:
    """Rows of data files as a dataset, each file a group of its own (two files of one name are one).

    Raises:
        DataError: a file cannot be read or lacks a column, or not one row can be used.
    """
    bad: list[str] = []
    found = list(read_outcomes(paths, columns, bad))
    return Dataset(
        tuple(one.row.query for one in found),
        np.array([one.row.file.split(".", 1)[0] for one in found]),
        np.array([one.weak for one in found], np.float64),
        np.array([one.strong for one in found], np.float64),
        tuple(bad),
        weights_of([one.row.values for one in found]),
    )


def weights_of(rows: Sequence[Mapping[str, Any]]) -> NDArray[np.float64] | None:
    """The weights of rows that `pointsman judge` wrote, where they are not all alike."""
    if not all(JUDGEMENT in row and isinstance(row.get("weight"), int | float) for row in rows):
        return None
    weight = np.array([row["weight"] for row in rows], np.float64)
    usable = np.isfinite(weight).all() and (weight > 0.0).all() and weight.min() < weight.max()
    return weight if usable else None


def check_count(rows: int, purpose: str, left_out: str = "") -> str | None:
    """A warning where there are few rows for a purpose ("train on").

    Raises:
        DataError: fewer than `FEWEST_ROWS`.
    """
    if rows < FEWEST_ROWS:
        raise DataError(f"expected at least {FEWEST_ROWS} usable rows to {purpose}, found {rows}{left_out}.")
    if rows < FEW_ROWS:
        return f"warning: {rows} rows to {purpose} are few. Use at least {FEW_ROWS} for a result that holds."
    return None


def read_outcomes(paths: Sequence[Path], columns: Columns, bad: list[str]) -> Iterator[Outcome]:
    """Rows of data files with their outcome: `label`, or `weak_score` and `strong_score`.

    Args:
        columns: where text and label stand, and what the label means.
        bad: gets where and why for each row that cannot be used.

    Raises:
        DataError: a file cannot be read or lacks a column, or not one row can be used.
    """
    labels: dict[str, None] = {}
    count = 0
    for path in paths:
        for outcome in _of_file(read_rows(path, columns, bad), path, columns, bad):
            count += 1
            if len(labels) < _SHOWN_LABELS or outcome.weak > 0.0:
                labels[_comparable(outcome.row.values.get(columns.label))] = None
            yield outcome
    if not count:
        raise no_rows(paths, bad)
    if columns.local_when is not None and _comparable(columns.local_when) not in labels:
        found = list(labels)[:_SHOWN_LABELS]
        raise DataError(f"no row is labelled {columns.local_when!r}, which means local; found {found}.")


def _of_file(rows: Iterable[Row], path: Path, columns: Columns, bad: list[str]) -> Iterator[Outcome]:
    names: dict[str, None] = {}
    has_outcome = False
    for row in rows:
        if not has_outcome:
            has_outcome = _has_outcome(row.values, columns)
            names |= dict.fromkeys(row.values)
        found = outcome_of(row, columns)
        if isinstance(found, str):
            bad.append(f"{row.where}: {found}")
        else:
            yield found
    if not has_outcome:
        check_outcome(names, str(path), columns)


def check_outcome(names: Collection[str], file: str, columns: Columns) -> None:
    """Refuse a file without a column of labels and without scores.

    Raises:
        DataError: with the columns that are there.
    """
    if names and not _has_outcome(names, columns):
        raise DataError(
            f"{file}: no column {columns.label!r}, nor {WEAK} with {STRONG}; found {list(names)}. "
            "Name it with --label."
        )


def _has_outcome(names: Collection[str], columns: Columns) -> bool:
    return columns.label in names or (WEAK in names and STRONG in names)


def outcome_of(row: Row, columns: Columns) -> Outcome | str:
    """A row's outcome, or what is wrong with it."""
    label = row.values.get(columns.label)
    if label not in (None, ""):
        named = _comparable(label)
        if columns.local_when is not None:
            return Outcome(row, float(named == _comparable(columns.local_when)), 1.0)
        if named not in TARGETS:
            return f"label: expected local or cloud, found {label!r}; --local-when names the one for local"
        return Outcome(row, float(named != CLOUD), 1.0)
    try:
        weak, strong = _number(row.values[WEAK]), _number(row.values[STRONG])
    except (KeyError, TypeError, ValueError):
        return f"expected {columns.label}, or {WEAK} and {STRONG} as numbers"
    if not (math.isfinite(weak) and math.isfinite(strong)):
        return f"{WEAK}, {STRONG}: expected finite numbers"
    return Outcome(row, weak, strong)


def _number(value: Any) -> float:
    """A score, with a point or a comma before its decimals; 1,000 could be either and is refused."""
    if isinstance(value, str) and not _THOUSANDS.fullmatch(value.strip()):
        value = value.replace(",", ".")
    return float(value)


def _comparable(label: Any) -> str:
    """A label as it is compared: 1, 1.0 and "1" are one, and so are "Easy" and "easy"."""
    text = str(label).strip().casefold()
    with contextlib.suppress(ValueError):
        return f"{float(text):g}"
    return text
