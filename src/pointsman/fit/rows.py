"""The scored rows of a work folder as arrays, and their three parts: to learn, to calibrate, to test.

The part of a row depends on its text (or its group) alone: rows that come later move no earlier one, and
`choose` finds the rows again that no training has seen.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointsman.datasets.duplicates import hash_fraction, near_duplicate_key
from pointsman.datasets.outcomes import Dataset
from pointsman.errors import DataError
from pointsman.traffic.judged import judged_rows
from pointsman.traffic.work import Work

TRAIN, CALIBRATE, TEST = "train", "calibrate", "test"
_UNTIL = ((0.65, TRAIN), (0.8, CALIBRATE), (1.01, TEST))
FEWEST_ROWS, FEW_ROWS = 200, 1000
"""Fewer rows are refused, and fewer rows are said to be few."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rows:
    """Scored queries, one a row.

    Attributes:
        queries: the texts.
        weak: score of the local answer, float64 (rows,).
        strong: of the cloud's, float64 (rows,).
        weight: rows of the log that each stands for, float64 (rows,).
        part: `train`, `calibrate` or `test`, (rows,).
        facts: what else is known of each: columns, judgement, tokens, cost, seconds.
    """

    queries: tuple[str, ...]
    weak: Floats
    strong: Floats
    weight: Floats
    part: NDArray[np.str_]
    facts: tuple[dict[str, Any], ...]

    @property
    def gain(self) -> Floats:
        """How much better the cloud's answer is, float64 (rows,)."""
        return self.strong - self.weak

    def only(self, *parts: str) -> "Rows":
        """The rows of these parts."""
        keep = np.isin(self.part, parts)
        pick = np.flatnonzero(keep)
        return Rows(
            tuple(self.queries[at] for at in pick),
            self.weak[keep],
            self.strong[keep],
            self.weight[keep],
            self.part[keep],
            tuple(self.facts[at] for at in pick),
        )

    @property
    def dataset(self) -> Dataset:
        """Queries and scores alone, each part a group."""
        return Dataset(self.queries, self.part, self.weak, self.strong)


def read_rows(work: Work, group: str | None = None, fewest: int = 1) -> Rows:
    """The scored rows of a work folder.

    Args:
        work: the folder.
        group: a column whose values stay on one side of the split (a customer, a month); None splits by text.
        fewest: rows that there must be.

    Raises:
        DataError: too few rows, no such column, or a part without rows of both kinds.
    """
    found = list(judged_rows(work))
    if len(found) < fewest:
        raise DataError(
            f"{work.directory}: expected at least {fewest} rows with scores, found {len(found)}. "
            "Collect and judge more queries; a router that is fitted to fewer only repeats their accidents."
        )
    if group is not None and not all(group in row["columns"] for row in found):
        raise DataError(f"--group {group}: not every collected row has that column.")
    keys = [str(row["columns"][group]) if group else near_duplicate_key(row["query"]) for row in found]
    return Rows(
        tuple(row["query"] for row in found),
        np.array([row["weak_score"] for row in found], np.float64),
        np.array([row["strong_score"] for row in found], np.float64),
        np.array([row["weight"] for row in found], np.float64),
        np.array([part_of(key) for key in keys]),
        tuple(found),
    )


def part_of(key: str) -> str:
    """The part of a row by its group, or by what near duplicates share."""
    share = hash_fraction(key, "fit")
    return next(part for until, part in _UNTIL if share < until)


def require_both_kinds(rows: Rows) -> None:
    """Refuse rows that cannot teach.

    Raises:
        DataError: a part in which the cloud is always better, or never.
    """
    for part in (TRAIN, CALIBRATE, TEST):
        better = rows.only(part).gain > 0
        if better.sum() < 2 or (~better).sum() < 2:
            raise DataError(
                f"the part to {part} has {len(better)} rows, and the cloud was better in {better.sum()} of "
                "them: expected at least 2 of each kind. Judge more rows, or choose another --group."
            )
