"""Bytes to records: what cannot be a record is named as such, and reading goes on."""

import csv
import io
import re
from collections.abc import Iterator
from typing import IO, Any, Self, cast

from pointsman.artifact.strict_json import parse_strict
from pointsman.errors import DataError

MAX_LINE = 16 * 1024 * 1024
"""Bytes of one line at most. A file without line ends must not fill the memory."""
MAX_DEPTH = 200
"""Levels of JSON in a row at most: deeper ones could be read, but not always written again."""
MAX_JSON = 256 * 1024 * 1024
"""Bytes of a `.json` file at most: unlike JSON lines it is read whole."""

_NO_TEXT = {
    b"PK\3\4": "a spreadsheet or an archive; save it as CSV (UTF-8)",
    b"\xd0\xcf\x11\xe0": "a spreadsheet; save it as CSV (UTF-8)",
    b"\x1f\x8b": "gzip; end its name with .gz",
    b"PAR1": "Parquet; end its name with .parquet",
}
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_DELIMITERS = ",;\t|"
_TRAILING_COMMA = re.compile(r'("(?:\\.|[^"\\])*+"?)|,(?=\s*[}\]])')
_QUOTED = re.compile(r'"[^"]*"')
_DECLARED = re.compile(r'"?sep=(.)"?\r?\n?', re.IGNORECASE)
"""The first line by which Excel says a file's delimiter."""


def as_utf8(data: IO[bytes], file: str) -> IO[bytes]:
    """The same text as UTF-8, where it is UTF-16, with its mark or without (Excel, PowerShell).

    Raises:
        DataError: it begins as a file of another kind does.
    """
    start = data.read(4)
    data.seek(0)
    for mark, what in _NO_TEXT.items():
        if start.startswith(mark):
            raise DataError(f"{file} is not the text that its name says, but {what}.")
    start = start[:2]
    if start in _UTF16:
        return cast(IO[bytes], _Utf16(data, "utf-16"))
    # No text begins with a zero, nor has one after its first ASCII character.
    little, big = start[1:] == b"\0" != start[:1], start[:1] == b"\0" != start[1:]
    return cast(IO[bytes], _Utf16(data, "utf-16-le" if little else "utf-16-be")) if little or big else data


class _Utf16:
    """As much of a binary file as the readers below use."""

    def __init__(self, data: IO[bytes], encoding: str) -> None:
        # A lone surrogate becomes bytes that are no UTF-8, and so one bad record.
        self._text = io.TextIOWrapper(data, encoding, "surrogatepass", newline="\n")

    def readline(self, size: int) -> bytes:
        return self._text.readline(size).encode("utf-8", "surrogatepass")

    def read(self, size: int) -> bytes:
        return self._text.read(size).encode("utf-8", "surrogatepass")

    def close(self) -> None:
        self._text.close()


def decode_json(text: str) -> Any:
    """A JSON value, read strictly, but for commas before a closing bracket and at the end.

    Raises:
        ValueError: not JSON, or nested more than `MAX_DEPTH` levels deep.
    """
    try:
        return parse_strict(text, depth=MAX_DEPTH)
    except ValueError:
        # Arrays cut into lines, and files written by hand, have such commas.
        repaired = _TRAILING_COMMA.sub(lambda found: found[1] or "", text.rstrip().removesuffix(","))
        if repaired == text:
            raise
        return parse_strict(repaired, depth=MAX_DEPTH)


def line_records(data: IO[bytes]) -> Iterator[tuple[int, bytes | None]]:
    """(line number from 1, bytes) of each line that is not blank; None for one longer than `MAX_LINE`."""
    for number, line in _lines(data):
        if line is None or line.strip():
            yield number, line


def json_records(data: IO[bytes], file: str) -> Iterator[tuple[int, Any]]:
    """(number from 1, value) of each element of a JSON array, or of an object's one list or columns.

    A `.json` file of JSON lines is read as such.

    Raises:
        DataError: longer than `MAX_JSON`, not UTF-8, or neither JSON nor JSON lines.
    """
    raw = data.read(MAX_JSON + 1)
    if len(raw) > MAX_JSON:
        raise DataError(f"{file}: more than {MAX_JSON >> 20} MiB. Write JSON lines: an object a line.")
    try:
        value = decode_json(raw.decode("utf-8-sig"))
    except ValueError as error:
        if not raw.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
            raise DataError(f"{file}: not JSON: {error}.") from None
        yield from line_records(io.BytesIO(raw))
        return
    if isinstance(value, dict):
        lists = [v for v in value.values() if isinstance(v, list) and v and isinstance(v[0], dict)]
        value = lists[0] if len(lists) == 1 else _of_columns(value)
    if not isinstance(value, list):
        raise DataError(f"{file}: expected a list of objects, found {type(value).__name__}.")
    yield from enumerate(value, 1)


def _of_columns(value: dict[str, Any]) -> list[Any]:
    """The rows of an object of columns of equal length, lists or pandas' objects; any other is one row."""
    columns = [list(v.values()) if isinstance(v, dict) else v for v in value.values()]
    if not all(isinstance(c, list) for c in columns) or len({len(c) for c in columns}) != 1:
        return [value]
    return [dict(zip(value, row, strict=True)) for row in zip(*columns, strict=True)]


def csv_records(data: IO[bytes]) -> Iterator[tuple[int, list[str] | str]]:
    """(line where it begins, from 1; its fields), or a reason in place of the fields.

    The delimiter is the one of `,`, `;`, tab and `|` that the first line holds most often. Bytes that are no
    UTF-8 come as lone surrogates, as `surrogateescape` makes them.
    """
    csv.field_size_limit(MAX_LINE)
    text = _Text(data)
    reader = csv.reader(text, strict=True, delimiter=text.delimiter)
    while True:
        line = text.number + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield line, f"not CSV: {error}"
            continue
        if any(fields):
            yield line, fields


class _Text:
    """Decoded lines. Not a generator: after a line that is too long it must go on.

    Attributes:
        number: lines given so far.
        delimiter: declared by the first line, or guessed from it.
    """

    def __init__(self, data: IO[bytes]) -> None:
        self._lines = _lines(data)
        self.number = 0
        _, first = next(self._lines, (0, b""))
        if first and b"\r" in first[:-1] and b"\n" not in first:
            # Lines that end as on old Macs, which Excel still writes.
            self._lines = _lines(io.BytesIO(first.replace(b"\r", b"\n")))
            _, first = next(self._lines)
        self._first: bytes | None = first
        self._has_first = bool(first) or first is None
        text = (first or b"").decode("utf-8", "surrogateescape").removeprefix("\ufeff")
        if declared := _DECLARED.fullmatch(text):
            self.delimiter, self._has_first, self.number = declared[1], False, 1
        else:
            bare = _QUOTED.sub("", text)
            self.delimiter = max(_DELIMITERS, key=bare.count)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        if self._has_first:
            self.number, line, self._has_first = 1, self._first, False
        else:
            self.number, line = next(self._lines)
        if line is None:
            raise csv.Error("the line is too long")
        text = line.decode("utf-8", "surrogateescape")
        return text.removeprefix("\ufeff") if self.number == 1 else text


def _lines(data: IO[bytes]) -> Iterator[tuple[int, bytes | None]]:
    number = 0
    while line := data.readline(MAX_LINE):
        number += 1
        if len(line) >= MAX_LINE and not line.endswith(b"\n"):
            while (rest := data.readline(MAX_LINE)) and not rest.endswith(b"\n"):
                pass
            yield number, None
        else:
            yield number, line
