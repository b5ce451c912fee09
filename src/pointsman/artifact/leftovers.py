"""Stages whose writer was killed: told from those still at work by a lock that ends with its process.

It refuses to know what a stage holds.
"""

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SETTLED_S = 60.0
"""A younger stage is left alone: its writer may be between making and locking it."""


@contextmanager
def at_work(stage: Path) -> Iterator[None]:
    """Hold a stage's lock while the block runs; a killed process lets go of it by itself."""
    try:
        import fcntl
    except ModuleNotFoundError:  # Windows: nothing is locked, and nothing is swept
        yield
        return
    descriptor = os.open(stage, os.O_RDONLY)
    try:
        # A file system without locks keeps its leftovers; that costs space, and nothing else.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def sweep(directory: Path, pattern: str) -> None:
    """Remove the stages in a directory that match a glob and that nobody works on any more."""
    try:
        import fcntl
    except ModuleNotFoundError:
        return
    for stage in directory.glob(pattern):
        with contextlib.suppress(OSError):
            if time.time() - stage.stat().st_mtime < SETTLED_S:
                continue
            descriptor = os.open(stage, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(stage, ignore_errors=True)
            finally:
                os.close(descriptor)
