"""Files of queries, row by row: the reader that every command uses."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from pointsman.datasets.chunks import read_chunks
from pointsman.datasets.rows import Columns
from pointsman.datasets.sources import find_sources
from pointsman.errors import DataError

_SHOWN_BAD_ROWS = 5


@dataclass(frozen=True, slots=True)
class Row:
    """One row with a text.

    Attributes:
        line: its line, from 1; for Parquet, Arrow and JSON arrays the row, from 1.
        query: the text, without spaces around it; not empty.
    """

    file: str
    line: int
    query: str
    values: Mapping[str, Any]

    @property
    def where(self) -> str:
        """File and line."""
        return f"{self.file}:{self.line}"


def read_rows(path: Path, columns: Columns, bad: list[str]) -> Iterator[Row]:
    """Rows of a file: JSON lines, JSON, CSV with any delimiter, Parquet, Arrow, or plain lines.

    Args:
        path: the file; its suffix says what it is, `.gz` after those of text.
        bad: gets where and why for each record that is no row.

    Raises:
        DataError: the file is missing, cannot be read, or lacks the text's column.
        MissingExtraError: Parquet or Arrow without pyarrow.
    """
    for source in find_sources([str(path)]):
        name = Path(source.address).name
        for chunk in read_chunks(source, columns):
            rows, refused = chunk.parse()
            bad += [f"{name}:{row.line}: {row.reason}" for row in refused]
            data = values_of(rows.data, source.address)
            for line, text, values in zip(rows.lines, rows.texts, data, strict=True):
                if query := text.strip():
                    yield Row(name, line, query, values)
                else:
                    bad.append(f"{name}:{line}: no text in column {columns.query!r}")


def values_of(data: Any, file: str) -> list[dict[str, Any]]:
    """The columns of each row of `Rows.data`; raises DataError for strings that are not UTF-8."""
    if isinstance(data, list):
        return data
    try:
        return list(data.to_pylist())
    except UnicodeDecodeError:
        raise DataError(f"{file} holds strings that are not UTF-8.") from None


def read_queries(
    paths: Sequence[Path], columns: Columns
) -> tuple[tuple[str, ...], str, list[Mapping[str, Any]]]:
    """The texts of files, the digest of them, and the values of their rows; bad rows are left out.

    Raises:
        DataError: a file cannot be read, or there is no text at all.
    """
    bad: list[str] = []
    rows = [row for path in paths for row in read_rows(path, columns, bad)]
    if not rows:
        raise no_rows(paths, bad)
    queries = tuple(row.query for row in rows)
    sha256 = hashlib.sha256("\0".join(queries).encode("utf-8", "replace")).hexdigest()
    return queries, sha256, [row.values for row in rows]


def read_texts(path: Path) -> list[str]:
    """The texts of a file of which every row must be good.

    Raises:
        DataError: the file cannot be read, has no text, or has a bad row: the first ones are named.
    """
    bad: list[str] = []
    texts = [row.query for row in read_rows(path, Columns(), bad)]
    if bad:
        raise DataError(f"{path}: {len(bad)} bad rows: {'; '.join(bad[:_SHOWN_BAD_ROWS])}.")
    if not texts:
        raise no_rows([path], bad)
    return texts


def no_rows(paths: Sequence[Path], bad: Sequence[str]) -> DataError:
    """The error for files of which not one row can be used."""
    shown = "; ".join(bad[:_SHOWN_BAD_ROWS]) or "there are no rows"
    return DataError(f"no usable row in {[path.name for path in paths]}: {shown}.")


def project_queries() -> list[str]:
    """The project's own test queries: every kind of text that a router meets, written for it."""
    return _own("queries.jsonl")


def calibration_queries() -> list[str]:
    """The project's own queries for int8 ranges; they share no text with `project_queries`."""
    return _own("calibration.jsonl")


def _own(name: str) -> list[str]:
    text = (files("pointsman.datasets") / name).read_text(encoding="utf-8")
    return [json.loads(line)["query"] for line in text.split("\n") if line]
