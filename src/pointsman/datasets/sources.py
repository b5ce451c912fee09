"""Input addresses: plain paths, globs, and whatever fsspec knows when it is installed.

A plain path never needs fsspec. Files are taken in the order of the arguments, a glob's files by name, and
each file once: a file named twice would double its rows.
"""

import glob
import gzip
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, cast

from pointsman.artifact.digest import digest_file
from pointsman.errors import DataError, InputError, MissingExtraError

_SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "text",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
}
_LINES = ("jsonl", "json", "csv", "text")
SPREADSHEETS = (".xlsx", ".xlsm", ".xls", ".ods", ".numbers")


@dataclass(frozen=True, slots=True)
class Source:
    """One input file.

    Attributes:
        format: `jsonl`, `json`, `csv` (with any delimiter), `text` (a query a line), `parquet` or `arrow`.
        size: bytes, as stored.
        modified: what tells one content from another at the same address: SHA-256, or a remote's entity tag
            or time.
    """

    address: str
    format: str
    size: int
    modified: str

    @property
    def compressed(self) -> bool:
        """Whether the stored bytes are gzip."""
        return self.address.lower().endswith(".gz")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the run file."""
        return asdict(self)

    def open(self) -> tuple[IO[bytes], IO[bytes]]:
        """The bytes to parse, and the stored bytes, whose position is the progress.

        Raises:
            DataError: the file cannot be opened.
        """
        try:
            if is_remote(self.address):
                system, path = filesystem(self.address)
                stored = cast(IO[bytes], system.open(path, "rb"))
            else:
                stored = Path(self.address).open("rb")  # noqa: SIM115 - the caller closes it
        except OSError as error:
            raise DataError(f"{self.address} cannot be opened: {error}.") from None
        if self.compressed:
            return cast(IO[bytes], gzip.GzipFile(fileobj=stored)), stored
        return stored, stored


def refuse_changed(sources: Iterable[Source]) -> None:
    """Check that no file here was rewritten since its source was made.

    Raises:
        DataError: one was, or it is gone.
    """
    for source in sources:
        if not is_remote(source.address) and find_sources([source.address]) != [source]:
            raise DataError(
                f"{source.address} was changed while it was read, so its rows may be of both contents. "
                "Give a new output."
            )


def format_of(address: str) -> str | None:
    """The format that the name's suffix says, `.gz` aside; None where it says none."""
    name = address[:-3] if address.lower().endswith(".gz") else address
    found = _SUFFIXES.get(Path(name).suffix.lower())
    return None if found not in _LINES and name != address else found


def is_remote(address: str) -> bool:
    """Whether the address is fsspec's matter."""
    return "://" in address and not address.startswith("file://")


def filesystem(address: str) -> tuple[Any, str]:
    """The fsspec file system of an address, and the path in it.

    Raises:
        MissingExtraError: fsspec, or the package that it needs for this kind of address, is not installed.
        InputError: a kind of address that fsspec does not know.
    """
    try:
        from fsspec.core import url_to_fs
    except ModuleNotFoundError:
        raise MissingExtraError(
            f"{address} needs fsspec. Install it with: pip install 'pointsman[batch]'"
        ) from None
    try:
        system, path = url_to_fs(address)
    except ImportError as error:
        raise MissingExtraError(f"{address}: {error}") from None
    except ValueError as error:
        raise InputError(f"{address}: {error}.") from None
    return system, str(path)


def find_sources(addresses: Iterable[str]) -> list[Source]:
    """Every file that the addresses mean.

    Raises:
        DataError: an address without a file, or a name that tells no format.
    """
    found: dict[str, Source] = {}
    for given in addresses:
        address = given.removeprefix("file://")
        sources = _remote(address) if is_remote(address) else _local(address)
        if not sources:
            raise DataError(f"{address}: no such file.")
        for source in sources:
            found.setdefault(source.address, source)
    return list(found.values())


def _local(address: str) -> list[Source]:
    # A file whose name holds a bracket is that file; only what is no file is a pattern.
    paths = [address] if Path(address).exists() else sorted(glob.glob(address, recursive=True))  # noqa: PTH207 - absolute patterns too
    sources = []
    for name in paths:
        path = Path(name)
        if path.is_dir():
            if name == address:
                raise DataError(f"{address} is a directory; name its files: '{address}/*.jsonl'.")
            continue
        stat = path.stat()
        # Resolved, so that a restart from another directory knows its inputs.
        # A digest, not a time: a file that was rewritten may keep both its size and its time.
        content = digest_file(path).sha256 if path.is_file() else str(stat.st_mtime_ns)
        sources.append(_source(str(path.resolve()), stat.st_size, content))
    return sources


def _remote(address: str) -> list[Source]:
    system, path = filesystem(address)
    try:
        paths = sorted(system.glob(path)) if glob.has_magic(path) else [path]
        infos = [(name, system.info(name)) for name in paths]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DataError(f"{address} cannot be reached: {error}.") from None
    return [
        _source(
            str(system.unstrip_protocol(name)),
            int(info.get("size") or 0),
            str(next((info[key] for key in _TELLS if info.get(key)), "")),
        )
        for name, info in infos
        if info.get("type") != "directory"
    ]


_TELLS = ("ETag", "etag", "md5Hash", "LastModified", "last_modified", "mtime", "created")


def _source(address: str, size: int, modified: str) -> Source:
    found = format_of(address)
    if address.lower().endswith(SPREADSHEETS):
        raise DataError(f"{address} is a spreadsheet. Save it as CSV (UTF-8), and give that file.")
    if found is None:
        known = ", ".join(sorted(_SUFFIXES))
        raise DataError(f"{address}: its name tells no format. Expected one of {known}; .gz after lines.")
    return Source(address, found, size, modified)
