"""Files that outlive a power cut: written beside, synced, renamed, the directory synced."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_write(path: Path, partial: Path) -> Iterator[BinaryIO]:
    """A stream whose bytes become the file at `path` in one step, when the block ends and not before.

    Args:
        path: what is made or replaced.
        partial: where the bytes stand meanwhile, in the same directory; removed if the block fails.

    Raises:
        OSError: the disk refused; `path` is as it was.
    """
    try:
        with partial.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
        sync(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Make what was written to a file, or renamed in a directory, outlive a power cut.

    A directory cannot be opened everywhere; where it cannot, the system keeps renames in its own way.
    """
    if os.name != "posix" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
