"""What is done, how fast, and how long it will take, on standard error."""

import sys
import time


class Progress:
    """One line, rewritten on a terminal, repeated now and then in a log."""

    def __init__(self, total_bytes: int, *, quiet: bool = False) -> None:
        """Start the clock; `total_bytes` are the stored bytes of all inputs."""
        self._total = total_bytes
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()
        self._every = 0.5 if self._terminal else 10.0
        self._start = self._last = time.monotonic()
        self._skipped_bytes = 0
        self.rows = 0

    def skip(self, position: int) -> None:
        """Everything up to here was done by an earlier run: it says nothing of this one's speed."""
        self._skipped_bytes = position
        self._start = time.monotonic()

    def add(self, rows: int, position: int) -> None:
        """`rows` more are done, and the inputs' bytes up to `position`."""
        self.rows += rows
        now = time.monotonic()
        if self._quiet or now - self._last < self._every:
            return
        self._last = now
        print(self.line(position), end="\r" if self._terminal else "\n", file=sys.stderr, flush=True)

    def line(self, position: int) -> str:
        """The line at a position."""
        seconds = max(time.monotonic() - self._start, 1e-9)
        share = position / self._total if self._total else 1.0
        done, left = position - self._skipped_bytes, self._total - position
        rest = f"{_duration(seconds * left / done)} left" if done > 0 else "time left unknown"
        return f"{share:6.1%}  {self.rows:,} rows  {self.rows / seconds:,.0f} rows/s  {rest}   "


def _duration(seconds: float) -> str:
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}"
