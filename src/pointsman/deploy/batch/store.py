"""Where the parts go: a directory here, or an fsspec address. A file is there whole or not at all.

Here: written beside, synced, renamed, the directory synced. Elsewhere: one object, put in one request.
"""

from pathlib import Path
from typing import Any, TypeAlias

from pointsman.artifact.atomic import atomic_write
from pointsman.datasets.sources import filesystem, is_remote
from pointsman.errors import InputError


def open_store(address: str) -> "Store":
    """The store at a path or an address; nothing is made yet."""
    address = address.removeprefix("file://")
    return RemoteStore(address) if is_remote(address) else LocalStore(Path(address))


class LocalStore:
    """A directory."""

    def __init__(self, path: Path) -> None:
        """Make nothing yet."""
        self.path = path
        self.address = str(path)

    def names(self) -> set[str]:
        """Files that are there; a half-written one (`.name.tmp`) does not count."""
        try:
            return {entry.name for entry in self.path.iterdir() if not entry.name.startswith(".")}
        except FileNotFoundError:
            return set()
        except OSError as error:
            raise unwritable(self.address, error) from None

    def read(self, name: str) -> bytes:
        """All bytes."""
        return (self.path / name).read_bytes()

    def write(self, name: str, data: bytes) -> None:
        """Beside, synced, renamed."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with atomic_write(self.path / name, self.path / f".{name}.tmp") as file:
                file.write(data)
        except OSError as error:
            raise unwritable(f"{self.address}/{name}", error) from None

    def remove(self, name: str) -> None:
        """Remove."""
        (self.path / name).unlink(missing_ok=True)


class RemoteStore:
    """A folder of an fsspec file system."""

    def __init__(self, address: str) -> None:
        """Find the file system; nothing is sent yet for most kinds."""
        self.address = address.rstrip("/")
        self._system, self._root = filesystem(self.address)

    def names(self) -> set[str]:
        """Files that are there."""
        try:
            found: list[Any] = self._system.ls(self._root, detail=False)
        except FileNotFoundError:
            return set()
        except OSError as error:
            raise unwritable(self.address, error) from None
        return {str(name).rstrip("/").rpartition("/")[2] for name in found}

    def read(self, name: str) -> bytes:
        """All bytes."""
        return bytes(self._system.cat_file(f"{self._root}/{name}"))

    def write(self, name: str, data: bytes) -> None:
        """One object."""
        try:
            self._system.makedirs(self._root, exist_ok=True)
            self._system.pipe_file(f"{self._root}/{name}", data)
        except OSError as error:
            raise unwritable(f"{self.address}/{name}", error) from None

    def remove(self, name: str) -> None:
        """Remove."""
        if name in self.names():
            self._system.rm_file(f"{self._root}/{name}")


Store: TypeAlias = LocalStore | RemoteStore
"""A flat folder of small files."""


def unwritable(address: str, error: OSError) -> InputError:
    """The error for an output that cannot be written."""
    return InputError(f"{address} cannot be written: {error.strerror or error}.")
