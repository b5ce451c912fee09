"""Records to rows. A record without a usable text becomes a bad row with its place and its reason."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pointsman.artifact.manifest import Chat
from pointsman.datasets.records import decode_json
from pointsman.errors import DataError
from pointsman.runtime.chat import text_of_messages

MESSAGES = "messages"
"""Where the text's column is missing, a chat in this one is read as the gateway reads it."""

SINGLE = Chat()
"""Only the last user message of a chat is read."""

_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of a file are read, and what they mean.

    Attributes:
        local_when: the label that means local, every other one cloud; None expects `local` and `cloud`.
        chat: how many earlier user messages of `messages` are read.
    """

    query: str = "query"
    label: str = "label"
    local_when: str | None = None
    chat: Chat = SINGLE


COLUMNS = Columns()
"""The columns of the project's own files."""


@dataclass(frozen=True, slots=True)
class BadRow:
    """A record that cannot be used.

    Attributes:
        line: its line, from 1; for Parquet, Arrow and JSON arrays the row, from 1.
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
        lines: place of each row in its file, from 1.
        data: the rows: dicts for lines, a `pyarrow.Table` for tables.
    """

    file: str
    lines: list[int]
    texts: list[str]
    data: Any


def json_rows(
    records: Sequence[tuple[int, Any]], file: str, columns: Columns, *, is_first: bool = False
) -> tuple[Rows, list[BadRow]]:
    """Lines of JSON, or their values, to rows; each must be an object.

    Args:
        is_first: these are the file's first records: a column that none of them has is missing.

    Raises:
        DataError: the text's column is missing.
    """
    lines, texts, data, bad = [], [], [], []
    names: dict[str, None] = {}
    for line, record in records:
        row, reason = _json_object(record)
        if row is not None:
            names |= dict.fromkeys(row)
            text = text_of(row, columns)
            reason = _text_reason(text, columns.query)
        if row is None or reason:
            bad.append(BadRow(file, line, reason, _shown(record)))
            continue
        lines.append(line)
        texts.append(text)
        data.append(row)
    if is_first and names and not texts:
        check_column(file, list(names), columns)
    return Rows(file, lines, texts, data), bad


def text_of(row: Mapping[str, Any], columns: Columns) -> Any:
    """A row's text as it stands there, or that of its `messages`; None where there is neither."""
    if columns.query in row or not row.get(MESSAGES):
        return row.get(columns.query)
    messages = row[MESSAGES]
    if isinstance(messages, str):
        # A table of text holds a chat as JSON.
        with contextlib.suppress(ValueError):
            messages = decode_json(messages)
    if not isinstance(messages, list):
        return None
    return text_of_messages([m for m in messages if isinstance(m, Mapping)], columns.chat) or None


def _json_object(record: Any) -> tuple[dict[str, Any] | None, str]:
    """The object of a record (bytes of a line, or a value), or None and what is wrong with it."""
    if record is None:
        return None, "the line is too long"
    try:
        row = decode_json(record.decode("utf-8-sig")) if isinstance(record, bytes) else record
    except UnicodeDecodeError as error:
        return None, f"not UTF-8 at byte {error.start}"
    except ValueError as error:
        return None, f"not JSON: {error}"
    if not isinstance(row, dict):
        return None, f"expected a JSON object, found {type(row).__name__}"
    return row, ""


def csv_header(fields: Sequence[str], file: str, columns: Columns) -> list[str]:
    """The names of a CSV file's columns, without spaces around them and the empty ones at its end.

    Raises:
        DataError: as `check_column`.
    """
    header = [name.strip() for name in fields]
    while header and not header[-1]:
        header.pop()
    check_column(file, header, columns)
    return header


def csv_rows(
    records: Sequence[tuple[int, list[str] | str]], header: list[str], file: str, columns: Columns
) -> tuple[Rows, list[BadRow]]:
    """Fields to rows; a record must have as many as the header, empty ones at its end aside."""
    lines, texts, data, bad = [], [], [], []
    for line, fields in records:
        if isinstance(fields, str):
            bad.append(BadRow(file, line, fields))
            continue
        while len(fields) > len(header) and not fields[-1].strip():
            fields.pop()
        row = dict(zip(header, fields, strict=False))
        text = text_of(row, columns)
        reason = _fields_reason(fields, header) or _text_reason(text or None, columns.query)
        if reason:
            bad.append(BadRow(file, line, reason, _shown(",".join(fields).encode("utf-8", "replace"))))
            continue
        lines.append(line)
        texts.append(text)
        data.append(row)
    return Rows(file, lines, texts, data), bad


def _fields_reason(fields: list[str], header: list[str]) -> str:
    if len(fields) != len(header):
        return f"expected {len(header)} fields, found {len(fields)}"
    try:
        "".join(fields).encode()
    except UnicodeEncodeError:
        return "not UTF-8; save the file as UTF-8"
    return ""


def table_rows(table: Any, offset: int, file: str, columns: Columns) -> tuple[Rows, list[BadRow]]:
    """A table's rows; those without a usable text are taken out."""
    import pyarrow as pa

    kept, texts, bad = [], [], []
    for index, value in enumerate(_texts(table, columns)):
        reason = "not UTF-8" if value is _BROKEN else _text_reason(value, columns.query)
        if reason:
            bad.append(BadRow(file, offset + index + 1, reason))
        else:
            kept.append(index)
            texts.append(value)
    if bad:
        table = table.take(pa.array(kept, pa.int64()))
    return Rows(file, [offset + index + 1 for index in kept], texts, table), bad


_BROKEN = object()


def _texts(table: Any, columns: Columns) -> list[Any]:
    if columns.query in table.column_names:
        return _values(table.column(columns.query))
    return [
        _BROKEN if messages is _BROKEN else text_of({MESSAGES: messages}, columns)
        for messages in _values(table.column(MESSAGES))
    ]


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


def check_column(file: str, names: list[str], columns: Columns) -> None:
    """Refuse a file with one name for two columns, or without the text's column and without chats.

    Raises:
        DataError: with the columns that are there.
    """
    if twice := {name for name in names if names.count(name) > 1}:
        raise DataError(f"{file}: columns named twice: {sorted(twice)}.")
    if columns.query not in names and MESSAGES not in names:
        raise DataError(f"{file}: no column {columns.query!r}; found {names}. Name it with --column.")


def _text_reason(value: Any, column: str) -> str:
    if value is None:
        return f"no value in column {column!r}"
    if not isinstance(value, str):
        return f"column {column!r}: expected a string, found {type(value).__name__}"
    return ""


def _shown(record: Any) -> str | None:
    if isinstance(record, bytes):
        return record[:_SHOWN].decode("utf-8", "replace").rstrip("\r\n")
    return None if record is None else str(record)[:_SHOWN]
