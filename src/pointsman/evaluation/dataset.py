"""Rows with an outcome, as arrays: what a router is evaluated and calibrated on."""

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointsman.errors import DataError
from pointsman.labels import CLOUD, TARGETS


@dataclass(frozen=True, slots=True)
class Dataset:
    """Queries with their outcomes, in the order they were read.

    A row with a label alone stands for a weak model that fails what needs the cloud, and a strong one that
    fails nothing; so "quality" is then the share of needs that were met.

    Attributes:
        queries: the texts.
        group: what a row is counted under, for example its file.
        weak: quality of the weak model's answer, float64 (rows,).
        strong: of the strong model's, float64 (rows,).
        bad: rows that could not be used, each with where and why.
    """

    queries: tuple[str, ...]
    group: NDArray[np.str_]
    weak: NDArray[np.float64]
    strong: NDArray[np.float64]
    bad: tuple[str, ...] = ()

    @property
    def is_cloud(self) -> NDArray[np.bool_]:
        """Whether the strong answer was better, bool (rows,)."""
        return self.strong > self.weak

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
        return Dataset(queries, self.group[keep], self.weak[keep], self.strong[keep], self.bad)


def collect(rows: Iterable[tuple[str, str, Mapping[str, Any]]]) -> Dataset:
    """Rows to a dataset; bad ones are kept as words, not dropped silently.

    Args:
        rows: where a row stands (file and line), its group, and its values: `query` with `label`, or with
            `weak_score` and `strong_score`.

    Raises:
        DataError: not one row can be used.
    """
    queries: list[str] = []
    groups: list[str] = []
    scores: list[tuple[float, float]] = []
    bad: list[str] = []
    for where, group, row in rows:
        found = outcome(row)
        if isinstance(found, str):
            bad.append(f"{where}: {found}")
            continue
        queries.append(str(row["query"]).strip())
        groups.append(group)
        scores.append(found)
    if not queries:
        shown = "; ".join(bad[:5]) or "there are no rows"
        raise DataError(f"no row can be used: {shown}.")
    table = np.array(scores, np.float64)
    return Dataset(tuple(queries), np.array(groups), table[:, 0], table[:, 1], tuple(bad))


def outcome(row: Mapping[str, Any]) -> tuple[float, float] | str:
    """Weak and strong score of a row, or what is wrong with it."""
    query = row.get("query")
    if not isinstance(query, str) or not query.strip():
        return "query: expected text"
    label = row.get("label")
    if label not in (None, ""):
        named = str(label).strip().lower()
        if named not in TARGETS:
            return f"label: expected local or cloud, found {label!r}"
        return (0.0 if named == CLOUD else 1.0, 1.0)
    try:
        weak, strong = float(row["weak_score"]), float(row["strong_score"])
    except (KeyError, TypeError, ValueError):
        return "expected label, or weak_score and strong_score as numbers"
    if not (math.isfinite(weak) and math.isfinite(strong)):
        return "weak_score, strong_score: expected finite numbers"
    return weak, strong
