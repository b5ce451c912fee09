"""Structured logs: one JSON object a line, from a closed list of fields.

No text, no key, no query string and no body ever reaches a logger here; a failed write does not reach a
request, and does not stop a start.
"""

import asyncio
import contextlib
import io
import json
import logging
import os
import select
import sys
import threading
import time
from collections import Counter, deque
from typing import IO, Any

LOGGER = logging.getLogger("pointsman.serve")
_TALLY_S = 1.0
_GATHER_S = 0.02
_LAST_LINES_S = 1.0
_LINES_A_WRITE = 256
_QUIET = ("httpx", "httpcore", "uvicorn", "uvicorn.error", "uvicorn.access", "asyncio", "multipart")


class JsonFormatter(logging.Formatter):
    """A record as one JSON line; an exception shows as its type and place, never with its message."""

    _second = -1
    _stamp = ""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        second = int(record.created)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        line: dict[str, Any] = {
            "time": f"{self._stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage() if record.name == LOGGER.name else record.name,
        }
        line |= getattr(record, "facts", {})
        if record.exc_info and record.exc_info[1] is not None:
            error, frame = record.exc_info[1], record.exc_info[2]
            while frame is not None and frame.tb_next is not None:
                frame = frame.tb_next
            # The message of a foreign exception may quote what it choked on.
            line["error"] = type(error).__name__
            if frame is not None:
                line["at"] = f"{frame.tb_frame.f_globals.get('__name__', '?')}:{frame.tb_lineno}"
        return json.dumps(line, ensure_ascii=True)


class LineHandler(logging.Handler):
    """Lines to a stream, by a thread of its own: what cannot be written never blocks a request.

    A full disk or a closed pipe loses lines. A reader that stops reading makes the thread wait, and what
    exceeds the bound meanwhile is counted instead of kept.

    Attributes:
        dropped: lines that were never written.
    """

    def __init__(self, stream: IO[str], most_chars: int = 2**20) -> None:
        super().__init__()
        self._stream = stream
        self._most_chars = most_chars
        self._lines: deque[str] = deque()
        # Characters that ever came, counted by those who log, and that ever left, by the thread.
        self._came = self._left = 0
        self._news = threading.Event()
        self._thread: threading.Thread | None = None
        self.dropped = self._told = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line for the thread."""
        try:
            line = self.format(record) + "\n"
        except Exception:  # noqa: BLE001 - a line that cannot be made is lost, and the request is not
            self.dropped += 1
            return
        if self._came - self._left + len(line) > self._most_chars:
            self.dropped += 1
            return
        self._came += len(line)
        self._lines.append(line)
        self._news.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="pointsman-log", daemon=True)
            self._thread.start()

    def flush(self) -> None:
        """Wait until what is here is written, a second at most; logging does so at the end of the process."""
        until = time.monotonic() + _LAST_LINES_S
        while self._left < self._came and time.monotonic() < until:
            time.sleep(_GATHER_S / 4)

    def _work(self) -> None:
        while True:
            self._news.wait()
            self._news.clear()
            # Lines of one moment are one write, and wake this thread once.
            time.sleep(_GATHER_S)
            while self._lines:
                text = "".join(self._lines.popleft() for _ in range(min(len(self._lines), _LINES_A_WRITE)))
                if not self._write(text):
                    self.dropped += text.count("\n")
                self._left += len(text)
                if self.dropped > self._told:
                    self._told = self.dropped
                    self._write(
                        json.dumps({"level": "warning", "event": "lines_dropped", "lines": self._told}) + "\n"
                    )

    def _write(self, text: str) -> bool:
        # There may be no stream, or a closed one, and nowhere to say so.
        try:
            self._stream.write(text)
            self._stream.flush()
        except (AttributeError, OSError, ValueError):
            return False
        return True


def _unbuffered(stream: IO[str]) -> IO[str]:
    """The stream past Python's buffer: what a full disk left in there would be tried again at the exit.

    That would fail, and make the exit code 120.
    """
    try:
        raw = os.fdopen(stream.fileno(), "wb", buffering=0, closefd=False)
    except (AttributeError, OSError, ValueError):
        return stream  # no file is behind it, or no stream is there
    return io.TextIOWrapper(raw, encoding="ascii", write_through=True)


def setup(level: str) -> None:
    """Send our lines to standard error; other libraries only from WARNING on, and without their words."""
    handler = LineHandler(_unbuffered(sys.stderr))
    handler.setFormatter(JsonFormatter())
    # What no line says need not be found out for each: the documented switches of the logging module.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in _QUIET:
        logger = logging.getLogger(name)
        logger.handlers[:] = []
        logger.propagate = True
        logger.setLevel(logging.WARNING)
    LOGGER.setLevel(level.upper())


def dropped_lines() -> int:
    """Lines of this process that were never written."""
    return sum(one.dropped for one in logging.getLogger().handlers if isinstance(one, LineHandler))


def log(event: str, level: int = logging.INFO, **facts: Any) -> None:
    """One line: an event from this package and its facts."""
    if LOGGER.isEnabledFor(level):
        LOGGER.log(level, event, extra={"facts": facts})


class Tally:
    """Requests that were turned away, one line a second for all: a line each costs more than turning away."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, code: str) -> None:
        """Count one; called in an event loop."""
        if not self._counts:
            asyncio.get_running_loop().call_later(_TALLY_S, self.tell)
        self._counts[code] += 1

    def tell(self) -> None:
        """Write the line, if there is anything to say."""
        if self._counts:
            counts, self._counts = self._counts, Counter()
            log("turned_away", **counts)


def announce(line: str) -> None:
    """One line on standard output for the program that started this process, if it can be written."""
    if sys.stdout is not None:
        # Past Python's buffer: what a full disk left in there would be tried again at the exit, and fail it.
        with contextlib.suppress(OSError, ValueError):
            # A pipe that is full would make this wait for its reader; on Windows only sockets can be asked.
            if sys.platform == "win32" or select.select([], [sys.stdout], [], 0)[1]:
                os.write(sys.stdout.fileno(), f"{line}\n".encode())
