"""What a batch run is told. Everything that changes an output row stands in `pinned`."""

from dataclasses import dataclass
from typing import Any

FORMATS = ("jsonl", "csv", "parquet", "arrow")
DECISION_COLUMNS = ("target", "confidence", "p_cloud", "reason", "truncated")
CHUNK_ROWS = 4096


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """How to read, what to add, how to write.

    Attributes:
        column: the column that holds the text.
        prefix: put before the name of each added column.
        format: one of `FORMATS`, of the output.
        chunk_rows: rows of one part, at least 1.
    """

    column: str = "query"
    prefix: str = ""
    format: str = "jsonl"
    chunk_rows: int = CHUNK_ROWS

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
