"""Bytes to records, line by line: what cannot be a record is named as such, and reading goes on."""

import csv
from collections.abc import Iterator
from typing import IO, Self

MAX_LINE = 16 * 1024 * 1024
"""Bytes of one line at most. A file without line ends must not fill the memory."""


def line_records(data: IO[bytes]) -> Iterator[tuple[int, bytes | None]]:
    """(line number from 1, bytes) of each line that is not blank; None for one longer than `MAX_LINE`."""
    for number, line in _lines(data):
        if line is None or line.strip():
            yield number, line


def csv_records(data: IO[bytes]) -> Iterator[tuple[int, list[str] | str]]:
    """(line where it begins, from 1; its fields), or a reason in place of the fields.

    Bytes that are no UTF-8 come as lone surrogates, as `surrogateescape` makes them.
    """
    csv.field_size_limit(MAX_LINE)
    text = _Text(data)
    reader = csv.reader(text, strict=True)
    while True:
        line = text.number + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield line, f"not CSV: {error}"
            continue
        if fields:
            yield line, fields


class _Text:
    """Decoded lines. Not a generator: after a line that is too long it must go on."""

    def __init__(self, data: IO[bytes]) -> None:
        self._lines = _lines(data)
        self.number = 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        self.number, line = next(self._lines)
        if line is None:
            raise csv.Error("the line is too long")
        text = line.decode("utf-8", "surrogateescape")
        return text.removeprefix("\ufeff") if self.number == 1 else text


def _lines(data: IO[bytes]) -> Iterator[tuple[int, bytes | None]]:
    number = 0
    while line := data.readline(MAX_LINE):
        number += 1
        if len(line) == MAX_LINE and not line.endswith(b"\n"):
            while (rest := data.readline(MAX_LINE)) and not rest.endswith(b"\n"):
                pass
            yield number, None
        else:
            yield number, line
