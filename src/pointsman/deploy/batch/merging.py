"""Parts to one file, a part at a time, in the order of the rows."""

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

from pointsman.artifact.atomic import atomic_write
from pointsman.deploy.batch.store import LocalStore, unwritable
from pointsman.errors import DataError


def merge(store: LocalStore, names: Sequence[str], output: Path, form: str) -> None:
    """Write `output` from the parts: beside, synced, renamed.

    Raises:
        DataError: parts that one file of this format cannot hold.
        InputError: the output cannot be written.
    """
    writers: dict[str, Callable[[LocalStore, Sequence[str], IO[bytes]], None]] = {
        "jsonl": _lines,
        "csv": _csv,
        "parquet": _table,
        "arrow": _table,
    }
    beside = output.with_name(f".{output.name}.tmp")
    try:
        with atomic_write(output, beside) as file:
            writers[form](store, names, file)
    except OSError as error:
        raise unwritable(str(output), error) from None


def _lines(store: LocalStore, names: Sequence[str], file: IO[bytes]) -> None:
    for name in names:
        file.write(store.read(name))


def _csv(store: LocalStore, names: Sequence[str], file: IO[bytes]) -> None:
    headers = [_header(store.path / name) for name in names]
    columns = list(dict.fromkeys(column for header in headers for column in header))
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for name in names:
        with (store.path / name).open(encoding="utf-8", newline="") as part:
            writer.writerows(csv.DictReader(part))
    text.flush()
    text.detach()


def _header(path: Path) -> list[str]:
    with path.open(encoding="utf-8", newline="") as file:
        return next(csv.reader(file))


def _table(store: LocalStore, names: Sequence[str], file: IO[bytes]) -> None:
    import pyarrow as pa
    import pyarrow.dataset as ds
    import pyarrow.parquet as pq

    is_parquet = names[0].endswith(".parquet")
    try:
        parts = [ds.dataset(store.path / name, format="parquet" if is_parquet else "ipc") for name in names]
        # A part without rows knows its columns by name only.
        filled = [part for part in parts if part.count_rows()] or parts[:1]
        schemas = [part.schema for part in filled]
        schema = pa.unify_schemas(schemas, promote_options="permissive").remove_metadata()
        writer = pq.ParquetWriter(file, schema) if is_parquet else pa.ipc.new_file(file, schema)
        with writer:
            for part in filled:
                writer.write_table(_shaped(part.to_table(), schema))
    except pa.ArrowException as error:
        raise DataError(
            f"the inputs' columns have no common schema ({error}). The parts stay in {store.address}: "
            "give a directory as output, or a .jsonl file."
        ) from None


def _shaped(table: Any, schema: Any) -> Any:
    import pyarrow as pa

    columns = [
        table.column(field.name).cast(field.type)
        if field.name in table.column_names
        else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)
