"""Child processes of a benchmark, seen from the measuring side: started, asked, timed, ended.

A child that fails, hangs or answers nonsense is a `WorkerError` with the last line it said, and the
benchmark goes on without it.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pointsman.errors import PointsmanError

_LONGEST = 300
_SOURCE = Path(__file__).resolve().parents[2]


class WorkerError(PointsmanError):
    """A child process of the benchmark that failed; the message is the last line it said."""


def child_environment(threads: int) -> dict[str, str]:
    """The environment of a child: this package importable, the same threads for every backend, no network."""
    inherited = os.environ.get("PYTHONPATH")
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(_SOURCE), *([inherited] if inherited else [])]),
        "OMP_NUM_THREADS": str(threads),
        "POINTSMAN_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false" if threads == 1 else "true",
        "RAYON_NUM_THREADS": str(threads),
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
    }


class WorkerProcess:
    """A process that holds one backend and answers jobs; see `timing.serve`."""

    def __init__(self, module: str, settings: Mapping[str, Any], threads: int, timeout_s: float) -> None:
        """Start the process and wait until its backend is open.

        Args:
            module: run with `python -m`.
            timeout_s: an answer that takes longer than this many seconds is a failure.

        Raises:
            WorkerError: the backend does not open.
        """
        self._timeout_s = timeout_s
        self._errors = tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            encoding="utf-8",
            env=child_environment(threads),
        )
        try:
            self.ask({**settings, "threads": threads})
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Send one line and read one.

        Raises:
            WorkerError: the process died, took too long, or did not answer with an object.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        is_late = threading.Event()

        def end() -> None:
            is_late.set()
            self._process.kill()

        alarm = threading.Timer(self._timeout_s, end)
        alarm.start()
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            answer = json.loads(self._process.stdout.readline())
        except (OSError, ValueError):
            self._process.kill()
            self._process.wait()
            why = (
                f"no answer within {self._timeout_s:g} s"
                if is_late.is_set()
                else last_line(self._said())[:_LONGEST]
            )
            raise WorkerError(why) from None
        finally:
            alarm.cancel()
        if not isinstance(answer, dict):
            raise WorkerError(f"answered {answer!r}")
        return answer

    def close(self) -> None:
        """End the process; safe to call twice."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.close()
        except OSError:
            self._process.kill()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def _said(self) -> str:
        self._errors.seek(0)
        return self._errors.read()


@dataclass(frozen=True, slots=True)
class WholeProcess:
    """One process from its start to its end.

    Attributes:
        answer: the JSON object that it printed last.
    """

    wall_ns: int
    answer: dict[str, Any]


def run_whole_process(code: str, arguments: Sequence[str], threads: int, timeout_s: float) -> WholeProcess:
    """Run `python -c code` with arguments and time all of it, the interpreter's start included.

    Raises:
        WorkerError: it failed, took too long, or did not end with a line that is a JSON object.
    """
    environment = child_environment(threads)
    begin = time.perf_counter_ns()
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=environment,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise WorkerError(f"not done within {timeout_s:g} s") from None
    wall_ns = time.perf_counter_ns() - begin
    try:
        answer = json.loads(last_line(done.stdout))
    except ValueError:
        answer = None
    if done.returncode != 0 or not isinstance(answer, dict):
        raise WorkerError(last_line(done.stderr)[:_LONGEST] or f"exit code {done.returncode} and no output")
    return WholeProcess(wall_ns, answer)


def last_line(text: str) -> str:
    """The last line that says something, or an empty string."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
