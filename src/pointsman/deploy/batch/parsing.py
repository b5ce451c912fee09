"""Records to rows. A record that cannot be routed becomes a bad row with its place and its reason."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pointsman.deploy.batch.options import BatchOptions
from pointsman.errors import DataError

_SHOWN = 200


@dataclass(frozen=True, slots=True)
class BadRow:
    """A record that was not routed.

    Attributes:
        file: its file.
        line: its line, from 1; for Parquet and Arrow the row, from 1.
        reason: why.
        record: the beginning of the record, for lines; None for tables.
    """

    file: str
    line: int
    reason: str
    record: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the side file."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows with a text each.

    Attributes:
        file: the input file.
        lines: place of each row in its file, from 1.
        texts: the texts, as many.
        data: the rows: dicts for lines, a `pyarrow.Table` for tables.
    """

    file: str
    lines: list[int]
    texts: list[str]
    data: Any


def json_rows(
    records: Sequence[tuple[int, bytes | None]], file: str, options: BatchOptions
) -> tuple[Rows, list[BadRow]]:
    """Lines of JSON to rows; a line must be an object."""
    lines, texts, data, bad = [], [], [], []
    added = frozenset(options.added)
    for line, raw in records:
        row, reason = _json_object(raw)
        if row is not None:
            reason = _text_reason(row.get(options.column), options.column)
        if row is None or reason:
            bad.append(BadRow(file, line, reason, _shown(raw)))
            continue
        if not added.isdisjoint(row):
            check_free(row, file, options)
        lines.append(line)
        texts.append(row[options.column])
        data.append(row)
    return Rows(file, lines, texts, data), bad


def _json_object(raw: bytes | None) -> tuple[dict[str, Any] | None, str]:
    if raw is None:
        return None, "the line is too long"
    try:
        text = raw.decode("utf-8-sig")
        row = _decode(text)
        if "\\u" in text:
            # An escaped lone surrogate is JSON, but no text that any file could hold.
            json.dumps(row, ensure_ascii=False).encode()
    except UnicodeDecodeError as error:
        return None, f"not UTF-8 at byte {error.start}"
    except UnicodeEncodeError:
        return None, "half of a surrogate pair: not Unicode text"
    except (ValueError, RecursionError) as error:
        return None, f"not JSON: {error}"
    if not isinstance(row, dict):
        return None, f"expected a JSON object, found {type(row).__name__}"
    return row, ""


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


_decode = json.JSONDecoder(parse_constant=_no_constant).decode
"""Made once: `json.loads` makes a decoder a call, which costs a row as much as its parsing."""


def csv_rows(
    records: Sequence[tuple[int, list[str] | str]], header: list[str], file: str, options: BatchOptions
) -> tuple[Rows, list[BadRow]]:
    """Fields to rows; a record must have as many as the header."""
    check_free(header, file, options)
    lines, texts, data, bad = [], [], [], []
    for line, fields in records:
        if isinstance(fields, str):
            bad.append(BadRow(file, line, fields))
            continue
        row = dict(zip(header, fields, strict=False))
        reason = _fields_reason(fields, header) or _text_reason(row[options.column] or None, options.column)
        if reason:
            bad.append(BadRow(file, line, reason, _shown(",".join(fields).encode("utf-8", "replace"))))
            continue
        lines.append(line)
        texts.append(row[options.column])
        data.append(row)
    return Rows(file, lines, texts, data), bad


def _fields_reason(fields: list[str], header: list[str]) -> str:
    if len(fields) != len(header):
        return f"expected {len(header)} fields, found {len(fields)}"
    try:
        "".join(fields).encode()
    except UnicodeEncodeError:
        return "not UTF-8"
    return ""


def table_rows(table: Any, offset: int, file: str, options: BatchOptions) -> tuple[Rows, list[BadRow]]:
    """A table's rows; those without a usable text are taken out."""
    import pyarrow as pa

    check_free(table.column_names, file, options)
    kept, texts, bad = [], [], []
    for index, value in enumerate(_values(table.column(options.column))):
        reason = "not UTF-8" if value is _BROKEN else _text_reason(value, options.column)
        if reason:
            bad.append(BadRow(file, offset + index + 1, reason))
        else:
            kept.append(index)
            texts.append(value)
    if bad:
        table = table.take(pa.array(kept, pa.int64()))
    return Rows(file, [offset + index + 1 for index in kept], texts, table), bad


_BROKEN = object()


def _values(column: Any) -> list[Any]:
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        # Arrow does not look at the bytes of a string when it reads a file; find the ones that are none.
        return [_value(item) for item in column]


def _value(item: Any) -> Any:
    try:
        return item.as_py()
    except UnicodeDecodeError:
        return _BROKEN


def take(rows: Rows, kept: list[int]) -> Rows:
    """Only the rows at these places."""
    if isinstance(rows.data, list):
        data: Any = [rows.data[index] for index in kept]
    else:
        data = rows.data.take(kept)
    return Rows(rows.file, [rows.lines[i] for i in kept], [rows.texts[i] for i in kept], data)


def check_free(names: Any, file: str, options: BatchOptions) -> None:
    """Refuse to write over a column of the input.

    Raises:
        DataError: with the columns that collide.
    """
    taken = [name for name in options.added if name in names]
    if taken:
        raise DataError(
            f"{file}: it already has {taken}, which the decision adds. Give the added columns a prefix of "
            "their own: --prefix route_"
        )


def _text_reason(value: Any, column: str) -> str:
    if value is None:
        return f"no value in column {column!r}"
    if not isinstance(value, str):
        return f"column {column!r}: expected a string, found {type(value).__name__}"
    return ""


def _shown(raw: bytes | None) -> str | None:
    return None if raw is None else raw[:_SHOWN].decode("utf-8", "replace").rstrip("\r\n")
