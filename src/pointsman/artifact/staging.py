"""Stages whose writer was killed: told from those still at work by a lock that ends with its process.

It knows nothing of what a stage holds.
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
def stage_lock(stage: Path) -> Iterator[None]:
    """Hold a stage's lock while the block runs; a killed process lets go of it by itself."""
    with contextlib.ExitStack() as held:
        # Where nothing can be locked, leftovers stay; that costs space, and nothing else.
        with contextlib.suppress(OSError):
            held.enter_context(_locked(stage))
        yield


def remove_stale(directory: Path, pattern: str) -> None:
    """Remove the stages in a directory that match a glob and whose writer has ended."""
    for stage in directory.glob(pattern):
        with contextlib.suppress(OSError):
            if time.time() - stage.stat().st_mtime < SETTLED_S:
                continue
            with _locked(stage):
                shutil.rmtree(stage, ignore_errors=True)


@contextmanager
def directory_lock(directory: Path) -> Iterator[None]:
    """Hold a directory's lock while the block runs, after its present holder; without locks, go on."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            held.enter_context(_locked(directory, wait=True))
        yield


@contextmanager
def _locked(stage: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold the lock while the block runs. Raises OSError where another does, or where there are no locks."""
    try:
        import fcntl
    except ModuleNotFoundError:  # Windows
        raise OSError("no locks here") from None
    descriptor = os.open(stage, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)
