"""Waiting for a condition: tests never wait for a time."""

import time
from collections.abc import Callable

MOST_S = 60.0
"""What a busy machine may take; a test that waits so long has failed."""


def until(holds: Callable[[], object]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + MOST_S
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)
