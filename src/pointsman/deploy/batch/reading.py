"""Files to chunks: a fixed number of records each, the same split every time, one chunk in memory.

A chunk is parsed only when it is asked for its rows: a restart walks over what is done without parsing it.
A record that is no row keeps its place in the count, so that one broken line does not move the split.
"""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any

from pointsman.datasets.records import csv_records, line_records
from pointsman.datasets.sources import Source
from pointsman.deploy.batch.options import BatchOptions
from pointsman.deploy.batch.parsing import BadRow, Rows, csv_rows, json_rows, table_rows
from pointsman.errors import DataError


@dataclass(frozen=True, slots=True)
class Chunk:
    """A run of records of one file.

    Attributes:
        source: number of the file in the run.
        offset: records of the file before this chunk.
        records: records in it, bad ones included.
        position: stored bytes of the file that were read until here.
        parse: the records as rows and bad rows.
    """

    source: int
    offset: int
    records: int
    position: int
    parse: Callable[[], tuple[Rows, list[BadRow]]]

    @property
    def name(self) -> str:
        """The part's name, without a suffix; names sort in the order of the rows."""
        return f"part-{self.source:06d}-{self.offset:012d}"


def read_chunks(source: Source, number: int, options: BatchOptions) -> Iterator[Chunk]:
    """The chunks of one file, in order.

    Raises:
        DataError: the file cannot be read to its end, or lacks the text column.
    """
    readers = {"jsonl": _json_chunks, "csv": _csv_chunks, "parquet": _table_chunks, "arrow": _table_chunks}
    data, stored = source.open()
    try:
        yield from readers[source.format](source, number, options, data, stored)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{source.address} cannot be read to its end: {error}. Is it whole?") from None
    finally:
        data.close()
        stored.close()


def _json_chunks(
    source: Source, number: int, options: BatchOptions, data: IO[bytes], stored: IO[bytes]
) -> Iterator[Chunk]:
    offset = 0
    for block in _blocks(line_records(data), options.chunk_rows):

        def parse(block: list[Any] = block) -> tuple[Rows, list[BadRow]]:
            return json_rows(block, source.address, options)

        yield Chunk(number, offset, len(block), stored.tell(), parse)
        offset += len(block)


def _csv_chunks(
    source: Source, number: int, options: BatchOptions, data: IO[bytes], stored: IO[bytes]
) -> Iterator[Chunk]:
    records = csv_records(data)
    first = next(records, None)
    if first is None:
        return
    header = first[1]
    if isinstance(header, str):
        raise DataError(f"{source.address}: line 1: the header is not CSV: {header}.")
    if len(set(header)) != len(header):
        raise DataError(f"{source.address}: line 1: a column is named twice.")
    check_column(source, header, options)
    offset = 0
    for block in _blocks(records, options.chunk_rows):

        def parse(block: list[Any] = block) -> tuple[Rows, list[BadRow]]:
            return csv_rows(block, header, source.address, options)

        yield Chunk(number, offset, len(block), stored.tell(), parse)
        offset += len(block)


def _table_chunks(
    source: Source, number: int, options: BatchOptions, data: IO[bytes], stored: IO[bytes]
) -> Iterator[Chunk]:
    import pyarrow as pa

    try:
        names, total, batches = _open_table(source, data, options.chunk_rows)
        check_column(source, names, options)
        offset = 0
        for table in _recut(batches, options.chunk_rows):

            def parse(table: Any = table, offset: int = offset) -> tuple[Rows, list[BadRow]]:
                return table_rows(table, offset, source.address, options)

            end = offset + table.num_rows
            position = source.size * end // total if total else stored.tell()
            yield Chunk(number, offset, table.num_rows, position, parse)
            offset = end
    except (pa.ArrowInvalid, pa.ArrowException) as error:
        raise DataError(f"{source.address} is not a whole {source.format} file: {error}") from None


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


def check_column(source: Source, names: list[str], options: BatchOptions) -> None:
    """Refuse a table without the text column.

    Raises:
        DataError: with the columns that are there.
    """
    if options.column not in names:
        raise DataError(
            f"{source.address}: no column {options.column!r}; found {names}. Name it with --column."
        )


def _blocks(records: Iterator[Any], size: int) -> Iterator[list[Any]]:
    block: list[Any] = []
    for record in records:
        block.append(record)
        if len(block) == size:
            yield block
            block = []
    if block:
        yield block
