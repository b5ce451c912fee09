"""Runs of `pointsman batch` in processes of their own: timed, watched, and killed."""

import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

EVERY = 0.25
"""Seconds between two looks at a run."""


class RunFailedError(Exception):
    """A run that was not killed and yet did not end well."""


@dataclass(frozen=True)
class Job:
    """What a run is asked for."""

    source: Path
    output: Path
    artifact: Path | None
    engine: str = "local"
    workers: int = 2
    chunk_rows: int = 4096

    @property
    def split(self) -> list[str | int]:
        """How the work is shared: threads of one process, or actors of one thread each."""
        return ["--threads", self.workers] if self.engine == "local" else ["--workers", self.workers]

    @property
    def command(self) -> list[str]:
        words = [sys.executable, "-m", "pointsman", "batch", self.source, self.output, "--quiet"]
        words += ["--engine", self.engine, *self.split]
        words += ["--chunk-rows", self.chunk_rows, *(["--artifact", self.artifact] if self.artifact else [])]
        return [str(word) for word in words]

    def start(self, log: Path) -> subprocess.Popen[bytes]:
        """In a process group of its own."""
        environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
        with log.open("wb") as file:
            return subprocess.Popen(
                self.command, stdout=file, stderr=file, start_new_session=True, env=environment
            )

    @property
    def parts(self) -> int:
        """Parts that are written."""
        return len(list(self.folder.glob("part-*"))) if self.folder.is_dir() else 0

    @property
    def folder(self) -> Path:
        """Where parts stand until the output is put together."""
        return Path(f"{self.output}.parts")


@dataclass
class Watched:
    """Looks at a run: seconds since its start, parts, resident bytes of the parent and of the rest."""

    samples: list[tuple[float, int, int, int]] = field(default_factory=list)
    parent_cpu: float = 0.0

    def look(self, process: psutil.Process, started: float, parts: int) -> None:
        try:
            own = process.memory_info().rss
            times = process.cpu_times()
            rest = sum(_rss(child) for child in process.children(recursive=True))
        except psutil.Error:
            return
        self.parent_cpu = times.user + times.system
        self.samples.append((round(time.perf_counter() - started, 3), parts, own, rest))


def _rss(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def timed(job: Job, rows: int, log: Path) -> dict[str, Any]:
    """One whole run, from the start of the interpreter to its end.

    Returns rows, seconds, the second and the rows at which the first part was seen, and the samples.
    """
    started, before = time.perf_counter(), _spent()
    process, watched = job.start(log), Watched()
    inside = psutil.Process(process.pid)
    first: tuple[float, int] | None = None
    while process.poll() is None:
        parts = job.parts
        if parts and first is None:
            first = time.perf_counter() - started, min(rows, parts * job.chunk_rows)
        watched.look(inside, started, parts)
        time.sleep(EVERY if first else 0.02)
    seconds = time.perf_counter() - started
    if process.returncode:
        raise RunFailedError(f"{job.command}:\n{log.read_text(errors='replace')[-3000:]}")
    return {
        "engine": job.engine,
        "workers": job.workers,
        "rows": rows,
        "seconds": round(seconds, 3),
        "first_part": {"seconds": round(first[0], 3), "rows": first[1]} if first else None,
        "parent_cpu_seconds": round(watched.parent_cpu, 2),
        # Ray's workers are no children of the run: nothing is known of theirs.
        "cpu_seconds": round(_spent() - before, 2) if job.engine == "local" else None,
        "input_bytes": job.source.stat().st_size,
        "output_bytes": job.output.stat().st_size,
        "samples": thinned(watched.samples),
    }


def _spent() -> float:
    """Processor seconds of every process that was waited for, its own children included."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def thinned(samples: list[Any], most: int = 240) -> list[Any]:
    """At most `most`, evenly."""
    step = -(-len(samples) // most) or 1
    return samples[::step]


WHO = ("group", "parent")


def killed(job: Job, who: str, at: float, log: Path) -> int | None:
    """Start, and SIGKILL after `at` seconds; returns the parts there, None where it was too late."""
    process = job.start(log)
    time.sleep(at)
    if who == "parent":
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    elif process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    done = process.wait() == 0 or (job.output.exists() and not job.folder.exists())
    return None if done else job.parts
