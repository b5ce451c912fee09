"""Structured logs: one JSON object a line, from a closed list of fields.

No text, no key, no query string and no body ever reaches a logger here; a failed write does not reach a
request, and does not stop a start.
"""

import contextlib
import json
import logging
import os
import sys
import time
from typing import IO, Any

LOGGER = logging.getLogger("pointsman.serve")
_QUIET = ("httpx", "httpcore", "uvicorn", "uvicorn.error", "uvicorn.access", "asyncio", "multipart")


class JsonFormatter(logging.Formatter):
    """A record as one JSON line; an exception shows as its type and place, never with its message."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
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


class _ForgivingHandler(logging.StreamHandler[IO[str]]):
    """A full disk or a closed pipe loses a line, not a request."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Say nothing: there is nowhere to say it."""


def setup(level: str) -> None:
    """Send our lines to standard error; other libraries only from WARNING on, and without their words."""
    handler = _ForgivingHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
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


def announce(line: str) -> None:
    """One line on standard output for whoever started this process, if there is anywhere to write it."""
    if sys.stdout is not None:
        # Past Python's buffer: what a full disk left in there would be tried again at the exit, and fail it.
        with contextlib.suppress(OSError):
            os.write(sys.stdout.fileno(), f"{line}\n".encode())
