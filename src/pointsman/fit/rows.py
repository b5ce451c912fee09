"""The scored rows of a work folder as arrays, in folds.

Every row is judged by a model that was fitted without its fold. The fold depends on the text (or the group)
alone: rows that come later move no earlier one.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointsman.datasets.duplicates import hash_fraction, near_duplicate_key
from pointsman.datasets.outcomes import Dataset
from pointsman.errors import DataError
from pointsman.traffic.judged import judged_rows
from pointsman.traffic.pairs import value_of
from pointsman.traffic.work import Work

FOLDS = 5
FEWEST_ROWS, FEW_ROWS = 200, 1000
"""Fewer rows are refused, and fewer rows are said to be few."""
_FEWEST_OF_A_KIND = 2

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rows:
    """Scored queries, one a row.

    Attributes:
        queries: the texts.
        weak: score of the local answer, float64 (rows,).
        strong: of the cloud's, float64 (rows,).
        weight: rows of the log that each stands for, float64 (rows,).
        fold: 0 to 4, near duplicates in one, int64 (rows,).
        facts: what else is known of each: columns, judgement, tokens, cost, seconds.
    """

    queries: tuple[str, ...]
    weak: Floats
    strong: Floats
    weight: Floats
    fold: NDArray[np.int64]
    facts: tuple[dict[str, Any], ...]

    @property
    def gain(self) -> Floats:
        """How much better the cloud's answer is, float64 (rows,)."""
        return self.strong - self.weak

    def at(self, kept: NDArray[np.int64]) -> "Rows":
        """Some of the rows."""
        return Rows(
            tuple(self.queries[at] for at in kept),
            self.weak[kept],
            self.strong[kept],
            self.weight[kept],
            self.fold[kept],
            tuple(self.facts[at] for at in kept),
        )

    @property
    def dataset(self) -> Dataset:
        """Queries and scores alone, each fold a group."""
        fold = self.fold.astype(np.str_)
        return Dataset(self.queries, fold, self.weak, self.strong, weight=self.weight)


def read_rows(work: Work, group: str | None = None, fewest: int = 1) -> Rows:
    """The scored rows of a work folder.

    Args:
        work: the folder.
        group: a column whose values stay in one fold (a customer, a month); None splits by text, as do rows
            without a value.
        fewest: rows that there must be.

    Raises:
        DataError: too few rows, no such column, or one value in all rows.
    """
    found = list(judged_rows(work))
    if len(found) < fewest:
        raise DataError(
            f"{work.directory}: expected at least {fewest} rows with scores, found {len(found)}. "
            "Collect and judge more queries; a router that is fitted to fewer only repeats their accidents."
        )
    values = [None if group is None else value_of(row["columns"], group) for row in found]
    if group is not None and len(set(values)) < 2:
        said = "no collected row has a value in that column" if None in values else "all rows have one value"
        raise DataError(f"--group {group}: {said}{'' if None in values else f', {values[0]!r}'}.")
    keys = [
        near_duplicate_key(row["query"]) if v is None else v for row, v in zip(found, values, strict=True)
    ]
    return Rows(
        tuple(row["query"] for row in found),
        np.array([row["weak_score"] for row in found], np.float64),
        np.array([row["strong_score"] for row in found], np.float64),
        np.array([row["weight"] for row in found], np.float64),
        np.array([int(hash_fraction(key, "fold") * FOLDS) for key in keys], np.int64),
        tuple(found),
    )


def require_both_kinds(rows: Rows) -> None:
    """Refuse rows that cannot teach.

    Raises:
        DataError: without a fold, the cloud is always better, or never.
    """
    better = rows.gain > 0
    advice = "Judge more rows, or choose another --group."
    if better.all() or not better.any():
        alone = "always the cloud is the answer" if better.all() else "the local model alone is good enough"
        advice = f"As far as these rows say, {alone}. Judge more rows to be sure."
    for fold in range(FOLDS):
        left = better[rows.fold != fold]
        if min(left.sum(), (~left).sum()) < _FEWEST_OF_A_KIND:
            raise DataError(
                f"{len(better)} rows, and the cloud was better in {better.sum()} of them: expected at least "
                f"{_FEWEST_OF_A_KIND} of each kind outside of every fold. {advice}"
            )
