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
import sys
import time
from collections import Counter
from typing import IO, Any

LOGGER = logging.getLogger("pointsman.serve")
_TALLY_S = 1.0
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
    """Lines to a stream: in an event loop those of one turn in one write, elsewhere at once.

    A full disk or a closed pipe loses lines, not a request.
    """

    def __init__(self, stream: IO[str]) -> None:
        super().__init__()
        self._stream = stream
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line until the turn ends."""
        try:
            self._lines.append(self.format(record) + "\n")
            if len(self._lines) == 1:
                asyncio.get_running_loop().call_soon(self.flush)
        except RuntimeError:
            self.flush()
        except Exception:  # noqa: BLE001 - a line that cannot be made is lost, and the request is not
            return

    def flush(self) -> None:
        """Write what is here; logging does so at the end of the process, too."""
        # There may be no stream, or a closed one, and nowhere to say so.
        with self.lock or contextlib.nullcontext(), contextlib.suppress(AttributeError, OSError, ValueError):
            text, self._lines = "".join(self._lines), []
            self._stream.write(text)
            self._stream.flush()


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
    """One line on standard output for whoever started this process, if there is anywhere to write it."""
    if sys.stdout is not None:
        # Past Python's buffer: what a full disk left in there would be tried again at the exit, and fail it.
        with contextlib.suppress(OSError):
            os.write(sys.stdout.fileno(), f"{line}\n".encode())
