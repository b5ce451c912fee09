"""A file for ONNX Runtime to read once, given up while it is read.

ONNX Runtime keeps bytes that it is given for as long as the session lives, beside the weights that it made of
them. From a pipe it reads the same file and keeps nothing. What it reads is still what was verified: the
pipe is fed from memory, and no other process has its end.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_OPEN_FILES = "/dev/fd"


@contextmanager
def readable_once(blocks: list[bytes]) -> Iterator[str | bytes]:
    """A path that gives the blocks in order, once; the list is emptied on the way.

    Where the system names no open files, the blocks come as bytes instead, in one piece.
    """
    if not Path(_OPEN_FILES).is_dir():
        whole = b"".join(blocks)
        blocks.clear()
        yield whole
        return
    reading, writing = os.pipe()
    feeder = threading.Thread(target=_feed, args=(writing, blocks), name="pointsman-model-pipe", daemon=True)
    feeder.start()
    try:
        yield f"{_OPEN_FILES}/{reading}"
    finally:
        # Ends a feeder whose reader stopped halfway.
        os.close(reading)
        feeder.join()
        blocks.clear()


def _feed(writing: int, blocks: list[bytes]) -> None:
    blocks.reverse()
    try:
        with os.fdopen(writing, "wb", buffering=0) as pipe:
            while blocks:
                rest = memoryview(blocks.pop())
                while rest:
                    rest = rest[pipe.write(rest) :]
    except BrokenPipeError:
        pass
