"""Files to chunks: a fixed number of records each, the same split every time, one chunk in memory.

A chunk is parsed only when it is asked for its rows: a restart walks over what is done without parsing it.
A record that is no row keeps its place in the count, so that one broken line does not move the split.
"""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import IO, Any

from pointsman.datasets.records import as_utf8, csv_records, json_records, line_records
from pointsman.datasets.rows import (
    BadRow,
    Columns,
    Rows,
    check_column,
    csv_header,
    csv_rows,
    json_rows,
    table_rows,
)
from pointsman.datasets.sources import Source
from pointsman.errors import DataError, MissingExtraError

CHUNK_ROWS = 4096


@dataclass(frozen=True, slots=True)
class Chunk:
    """A run of records of one file.

    Attributes:
        source: number of the file in the run.
        offset: records of the file before this chunk.
        position: stored bytes of the file that were read until here.
        parse: the records as rows and bad rows; DataError where the file lacks the text's column.
    """

    source: int
    offset: int
    records: int
    position: int
    parse: Callable[[], tuple[Rows, list[BadRow]]]


def read_chunks(
    source: Source, columns: Columns, *, number: int = 0, size: int = CHUNK_ROWS
) -> Iterator[Chunk]:
    """The chunks of one file, in order.

    Args:
        size: records of a chunk, the last one aside.

    Raises:
        DataError: the file cannot be read to its end, or lacks the text's column.
        MissingExtraError: Parquet or Arrow without pyarrow.
    """
    readers = {"csv": _csv_chunks, "parquet": _table_chunks, "arrow": _table_chunks}
    data, stored = source.open()
    try:
        if source.format not in ("parquet", "arrow"):
            data = as_utf8(data, source.address)
        reading = _Reading(source, columns, number, size, data, stored)
        yield from readers.get(source.format, _line_chunks)(reading)
    except (OSError, EOFError, UnicodeError, zlib.error) as error:
        raise DataError(f"{source.address} cannot be read to its end: {error}. Is it whole?") from None
    finally:
        data.close()
        stored.close()


@dataclass(frozen=True, slots=True)
class _Reading:
    """One file that is being read."""

    source: Source
    columns: Columns
    number: int
    size: int
    data: IO[bytes]
    stored: IO[bytes]

    def chunks(
        self, records: Iterator[Any], parse: Callable[[list[Any], bool], tuple[Rows, list[BadRow]]]
    ) -> Iterator[Chunk]:
        """Chunks of any records; `parse` gets a block of them and whether it is the first."""
        offset = 0
        while block := list(islice(records, self.size)):
            found = partial(parse, block, offset == 0)
            yield Chunk(self.number, offset, len(block), self.stored.tell(), found)
            offset += len(block)


def _line_chunks(reading: _Reading) -> Iterator[Chunk]:
    file, columns, data = reading.source.address, reading.columns, reading.data
    records: Iterator[tuple[int, Any]] = (
        json_records(data, file) if reading.source.format == "json" else line_records(data)
    )
    if reading.source.format == "text":
        records = ((line, raw and _text_record(raw, columns)) for line, raw in records)
    return reading.chunks(records, lambda block, is_first: json_rows(block, file, columns, is_first=is_first))


def _text_record(raw: bytes, columns: Columns) -> Any:
    """A line of plain text as the object that JSON lines would hold; bytes where it is no text."""
    try:
        return {columns.query: raw.decode("utf-8-sig").strip()}
    except UnicodeDecodeError:
        return raw


def _csv_chunks(reading: _Reading) -> Iterator[Chunk]:
    file, columns = reading.source.address, reading.columns
    records = csv_records(reading.data)
    first = next(records, None)
    if first is None:
        return iter(())
    if isinstance(first[1], str):
        raise DataError(f"{file}: line 1: the header is not CSV: {first[1]}.")
    header = csv_header(first[1], file, columns)
    return reading.chunks(records, lambda block, _: csv_rows(block, header, file, columns))


def _table_chunks(reading: _Reading) -> Iterator[Chunk]:
    require_arrow()
    import pyarrow as pa

    source, columns = reading.source, reading.columns
    try:
        names, total, batches = _open_table(source, reading.data, reading.size)
        check_column(source.address, names, columns)
        offset = 0
        for table in _recut(batches, reading.size):
            end = offset + table.num_rows
            position = source.size * end // total if total else reading.stored.tell()
            parse = partial(table_rows, table, offset, source.address, columns)
            yield Chunk(reading.number, offset, table.num_rows, position, parse)
            offset = end
    except (pa.ArrowInvalid, pa.ArrowException) as error:
        raise DataError(f"{source.address} is not a whole {source.format} file: {error}") from None


def require_arrow() -> None:
    """Refuse to go on without pyarrow.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import pyarrow  # noqa: F401
    except ModuleNotFoundError:
        raise MissingExtraError(
            "Parquet and Arrow need pyarrow. Install it with: pip install 'pointsman[batch]'"
        ) from None


def _open_table(source: Source, data: IO[bytes], rows: int) -> tuple[list[str], int | None, Iterator[Any]]:
    """Column names, rows where the format says them before the end, and the record batches."""
    import pyarrow as pa

    if source.format == "parquet":
        import pyarrow.parquet as pq

        file = pq.ParquetFile(data)
        return file.schema_arrow.names, file.metadata.num_rows, file.iter_batches(batch_size=rows)
    try:
        reader = pa.ipc.open_file(data)
    except pa.ArrowInvalid:
        # Not the file format: it may be the stream format, which has no footer.
        data.seek(0)
        stream = pa.ipc.open_stream(data)
        return stream.schema.names, None, iter(stream)
    batches = (reader.get_batch(index) for index in range(reader.num_record_batches))
    return reader.schema.names, None, batches


def _recut(batches: Iterator[Any], rows: int) -> Iterator[Any]:
    """Tables of exactly `rows` rows, the last one shorter, wherever the file's own batches end."""
    import pyarrow as pa

    held: list[Any] = []
    count = 0
    for batch in batches:
        held.append(batch)
        count += batch.num_rows
        while count >= rows:
            table = pa.Table.from_batches(held)
            yield table.slice(0, rows)
            held = table.slice(rows).to_batches()
            count -= rows
    if count:
        yield pa.Table.from_batches(held)
