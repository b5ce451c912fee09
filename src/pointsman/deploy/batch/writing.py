"""Rows and their decisions to the bytes of one part."""

import base64
import csv
import io
import json
from collections.abc import Iterable, Sequence
from typing import Any

from pointsman.datasets.rows import BadRow, Rows
from pointsman.deploy.batch.options import DECISION_COLUMNS, BatchOptions
from pointsman.errors import DataError

Answer = tuple[str, float, float, str, bool]
"""target, confidence, p_cloud, reason, truncated."""


def part_bytes(rows: Rows, answers: Sequence[Answer], options: BatchOptions) -> bytes:
    """One part in the format of the options.

    Raises:
        DataError: rows that the format cannot hold.
    """
    if options.format in ("jsonl", "csv"):
        plain = _as_dicts(rows, answers, options)
        return _jsonl(plain) if options.format == "jsonl" else csv_bytes(plain, options)
    return _table_bytes(rows, answers, options)


def check_free(rows: Rows, options: BatchOptions) -> None:
    """Refuse to write over a column of the input.

    Raises:
        DataError: with the columns that collide.
    """
    added = frozenset(options.added)
    heads = rows.data if isinstance(rows.data, list) else [rows.data.column_names]
    for names in heads:
        if not added.isdisjoint(names):
            raise DataError(
                f"{rows.file}: it already has {[name for name in options.added if name in names]}, which the "
                "decision adds. Give the added columns a prefix of their own: --prefix route_"
            )


def bad_bytes(bad: Iterable[BadRow]) -> bytes:
    """The side file: one JSON object a line."""
    return _jsonl(row.to_dict() for row in bad)


def _as_dicts(rows: Rows, answers: Sequence[Answer], options: BatchOptions) -> list[dict[str, Any]]:
    data = rows.data
    if not isinstance(data, list):
        try:
            data = data.to_pylist()
        except UnicodeDecodeError:
            raise DataError(
                f"{rows.file}: a column other than {options.column!r} holds strings that are not UTF-8; "
                f"{options.format} cannot hold. Write Parquet or Arrow: --format parquet"
            ) from None
    added = options.added
    return [
        {**row, **dict(zip(added, answer, strict=True))} for row, answer in zip(data, answers, strict=True)
    ]


def _jsonl(rows: Iterable[dict[str, Any]]) -> bytes:
    encode = _ENCODER.encode
    return "".join([encode(row) + "\n" for row in rows]).encode()


def _plain(value: Any) -> str:
    """Dates and decimals by their text, bytes in base64: JSON has neither."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


_ENCODER = json.JSONEncoder(default=_plain)
"""Made once: `json.dumps` with a default makes an encoder a call."""


def csv_bytes(rows: Sequence[dict[str, Any]], options: BatchOptions) -> bytes:
    """A header and the rows; columns in the order in which they first appear."""
    names = dict.fromkeys(name for row in rows for name in row) or dict.fromkeys(
        (options.column, *options.added)
    )
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    if isinstance(value, bool | list | dict):
        return json.dumps(value, default=_plain)
    return _plain(value) if isinstance(value, bytes) else value


def _table_bytes(rows: Rows, answers: Sequence[Answer], options: BatchOptions) -> bytes:
    import pyarrow as pa

    try:
        table = _as_table(rows.data, options)
    except (pa.ArrowException, OverflowError) as error:
        raise DataError(
            f"{rows.file}: lines {rows.lines[0]} to {rows.lines[-1]} have no common schema ({error}). "
            "Write lines instead: --format jsonl"
        ) from None
    kinds = (pa.string(), pa.float64(), pa.float64(), pa.string(), pa.bool_())
    columns = list(zip(*answers, strict=True)) or [()] * len(DECISION_COLUMNS)
    for name, kind, values in zip(options.added, kinds, columns, strict=True):
        table = table.append_column(name, pa.array(values, kind))
    out = io.BytesIO()
    if options.format == "parquet":
        import pyarrow.parquet as pq

        pq.write_table(table, out)
    else:
        with pa.ipc.new_file(out, table.schema) as writer:
            writer.write_table(table)
    return out.getvalue()


def _as_table(data: Any, options: BatchOptions) -> Any:
    import pyarrow as pa

    if not isinstance(data, list):
        return data
    if not data:
        return pa.table({options.column: pa.array([], pa.string())})
    # from_pylist takes the columns of the first row only.
    names = list(dict.fromkeys(name for row in data for name in row))
    return pa.table({name: pa.array([row.get(name) for row in data]) for name in names})
