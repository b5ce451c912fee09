"""What a batch run is told. Everything that changes an output row stands in `pinned`."""

from dataclasses import dataclass
from typing import Any

from pointsman.datasets.chunks import CHUNK_ROWS
from pointsman.datasets.rows import COLUMNS, Columns

FORMATS = ("jsonl", "csv", "parquet", "arrow")
DECISION_COLUMNS = ("target", "confidence", "p_cloud", "reason", "truncated")


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """How to read, what to add, how to write.

    Attributes:
        columns: which column holds the text, and how chats are read.
        prefix: put before the name of each added column.
        format: one of `FORMATS`, of the output.
        chunk_rows: rows of one part, at least 1.
        compare: whether the targets are compared with labels.
    """

    columns: Columns = COLUMNS
    prefix: str = ""
    format: str = "jsonl"
    chunk_rows: int = CHUNK_ROWS
    compare: bool = False

    @property
    def column(self) -> str:
        """The column that holds the text."""
        return self.columns.query

    @property
    def added(self) -> tuple[str, ...]:
        """Names of the added columns, in the order of `DECISION_COLUMNS`."""
        return tuple(self.prefix + name for name in DECISION_COLUMNS)

    @property
    def pinned(self) -> dict[str, Any]:
        """What a restart must repeat."""
        return {
            "column": self.column,
            "prefix": self.prefix,
            "format": self.format,
            "chunk_rows": self.chunk_rows,
        }
