"""Chats and feedback, written by a thread to the files that `pointsman collect --from-capture` reads.

A row names its request by a digest of the client and the request's id. So the two files join, no key and no
address is in them, and what one client says of an id of another joins nothing.
"""

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import stat
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pointsman.artifact.staging import directory_lock
from pointsman.errors import SettingsError
from pointsman.runtime.chat import OPTIONS
from pointsman.serve.capture.redaction import Messages, Redaction, text_messages
from pointsman.serve.logs import log
from pointsman.serve.observability.history import History
from pointsman.serve.observability.metrics import Metrics
from pointsman.serve.traffic_settings import CaptureSettings

_MOST_WAITING_BYTES = 32 * 2**20
"""What waits for the thread, together."""
_ROW_BYTES = 4096
"""A row that waits takes about this beside its body."""
_DIGITS = 32


def row_id(client: str, request_id: str) -> str:
    """How the files name a request: 32 hexadecimal digits."""
    return hashlib.sha256(f"{client}\0{request_id}".encode()).hexdigest()[:_DIGITS]


class LineFile:
    """Lines that several processes append to: none is mixed with another, and two files bound their size.

    Args:
        path: of the file; the one before it has `.1` at its end. Both are for their owner alone.
        max_bytes: of each.

    Raises:
        SettingsError: it cannot be written, or holds something else.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.path = path
        self._max_bytes = max_bytes
        try:
            os.close(self._open())
            with path.open("rb") as file:
                first = file.read(1)
        except OSError as error:
            raise SettingsError(f"capture.path: {path} cannot be written: {error.strerror}.") from None
        if first not in (b"", b"{"):
            raise SettingsError(f"capture.path: {path} is there and no file of JSON lines; name another.")

    def append(self, line: bytes) -> None:
        """Write a line; what a full disk took of it is taken back.

        Raises:
            OSError: it is not written.
        """
        with directory_lock(self.path.parent), contextlib.ExitStack() as opened:
            descriptor = self._open()
            opened.callback(os.close, descriptor)
            size = os.fstat(descriptor).st_size
            if size and size + len(line) > self._max_bytes:
                self.path.replace(self.path.with_name(f"{self.path.name}.1"))
                descriptor, size = self._open(), 0
                opened.callback(os.close, descriptor)
            try:
                written = os.write(descriptor, line)
            except OSError:
                written = 0
            if written < len(line):
                os.ftruncate(descriptor, size)
                raise OSError("the line does not fit on the disk")

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        descriptor = os.open(self.path, flags, 0o600)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(0, "not a regular file")
        if hasattr(os, "fchmod"):
            os.fchmod(descriptor, 0o600)
        return descriptor


class Capture:
    """Takes rows in the event loop and writes them in a thread.

    Args:
        settings: with a path.
        secrets: words that no row may hold: the upstreams' keys.

    Raises:
        SettingsError: the path cannot be written.
    """

    def __init__(
        self, settings: CaptureSettings, metrics: Metrics, history: History, secrets: Collection[str]
    ) -> None:
        assert settings.path is not None
        self._share, self._max_bytes = settings.share, settings.max_bytes
        self._metrics, self._history = metrics, history
        self._redaction = Redaction(settings.redact, secrets)
        self._chats = LineFile(settings.path, settings.max_bytes)
        said = settings.path.with_name(f"{settings.path.stem}.feedback{settings.path.suffix}")
        self._feedback = LineFile(said, settings.max_bytes)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="capture")
        # Bytes that ever came, counted in the event loop, and that ever left, by the thread.
        self._came = self._left = 0
        self._is_failing = False

    def takes(self, row: str) -> bool:
        """Whether the chat of this row is in the sample: the same for every process, and for its feedback."""
        return int(row[:8], 16) < self._share * 2**32

    def chat(
        self,
        row: str,
        messages: Sequence[Mapping[str, Any]],
        facts: Mapping[str, Any],
        secrets: Collection[str] = (),
        size: int = 0,
    ) -> None:
        """Write a chat, unless too many wait.

        Args:
            row: from `row_id`.
            messages: as they came; only read, and in a thread.
            facts: of the decision and of the answer.
            secrets: keys that the request showed.
            size: bytes of its body.
        """
        stamp = {"request_id": row, "time": round(time.time(), 3)}
        size += _ROW_BYTES
        if not self._do(size, self._write_chat, {**stamp, **facts}, messages, secrets):
            self._metrics.captured.labels("dropped").inc()

    async def readable(
        self, messages: Sequence[Mapping[str, Any]], secrets: Collection[str]
    ) -> Messages | None:
        """What of a chat may be written; None where nothing may."""

        def read() -> Messages | None:
            plain = text_messages(messages)
            return None if plain is None else self._redaction.apply(plain, secrets)

        return await asyncio.get_running_loop().run_in_executor(self._thread, read)

    def feedback(self, row: str, said: Mapping[str, Any]) -> bool:
        """Write what a client says of an answer of the sample; False for others, and where too much waits."""
        if not self.takes(row):
            return False
        stamp = {"request_id": row, "time": round(time.time(), 3)}
        is_taken = self._do(_ROW_BYTES, self._write_feedback, {**stamp, **said})
        if not is_taken:
            self._metrics.feedback.labels("dropped").inc()
        return is_taken

    def close(self) -> None:
        """Write what waits; blocks."""
        self._thread.shutdown()

    def _do(self, size: int, work: Callable[..., None], *given: Any) -> bool:
        """Let the thread do it; False where too much waits."""

        def done(_: Future[None]) -> None:
            self._left += size

        if self._came - self._left + size > _MOST_WAITING_BYTES:
            return False
        try:
            self._thread.submit(work, *given).add_done_callback(done)
        except RuntimeError:  # there is no memory for a thread, or the gateway is closing
            return False
        self._came += size
        return True

    def _write_chat(
        self, row: dict[str, Any], said: Sequence[Mapping[str, Any]], secrets: Collection[str]
    ) -> None:
        outcome = "dropped"
        try:
            messages, answers = text_messages(said), row.get("answers", {})
            # What a model repeats is redacted, too.
            texts = [{"role": "assistant", "content": answer["text"]} for answer in answers.values()]
            kept = None if messages is None else self._redaction.apply([*messages, *texts], secrets)
            if kept is not None and answers:
                kept, texts = kept[: -len(texts)], kept[-len(texts) :]
                said_by = zip(answers.items(), texts, strict=True)
                row["answers"] = {name: {**one, "text": text["content"]} for (name, one), text in said_by}
            given = {name: row[name] for name in OPTIONS if name in row}
            options = self._redaction.within(given, secrets)
            kept = None if options is None else kept
            row.update(options or {})
            if kept is None:
                outcome = "not_text" if messages is None else "redaction"
            elif self._write(self._chats, {**row, "messages": kept}):
                outcome = "written"
                self._history.count(captured=1)
        finally:
            self._metrics.captured.labels(outcome).inc()

    def _write_feedback(self, row: dict[str, Any]) -> None:
        is_written = self._write(self._feedback, row)
        self._metrics.feedback.labels("written" if is_written else "dropped").inc()
        self._history.count(labels=is_written)

    def _write(self, file: LineFile, row: dict[str, Any]) -> bool:
        line = json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"
        if len(line) > self._max_bytes:
            return False
        try:
            file.append(line)
        except OSError as error:
            if not self._is_failing:
                log("capture_failed", logging.WARNING, kind=type(error).__name__)
            self._is_failing = True
            return False
        self._is_failing = False
        return True
