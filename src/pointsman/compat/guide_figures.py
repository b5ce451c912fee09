"""The guide's tables: one query by torch and by a file, and the milliseconds of every backend."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointsman.artifact.store import Artifact
from pointsman.bench.results import Kind, Scenario
from pointsman.bench.runner import Effort, Inputs, Worker, measure_workers
from pointsman.bench.statistics import summarize
from pointsman.convert.checkpoint import read_checkpoint
from pointsman.errors import ArtifactError
from pointsman.evaluation.parity import ACCEPTABLE
from pointsman.runtime.probability import softmax

ROUNDS = 5
TOKENS = 16
"""Of the query that is timed."""


def compared(
    names: Sequence[str], query: str, wanted: NDArray[np.float32], found: NDArray[np.float32]
) -> dict[str, Any]:
    """One query's logits, float32 (labels,), by torch and by the file."""
    before, after = softmax(np.stack([wanted, found]))
    moved = float(np.abs(before - after).max())
    return {
        "query": query,
        "pytorch": names[int(before.argmax())],
        "onnx": names[int(after.argmax())],
        "difference": float(np.abs(found - wanted).max()),
        "probability_difference": moved,
        "passed": bool(before.argmax() == after.argmax()) and moved < ACCEPTABLE,
    }


def measured(checkpoint: Path, artifact: Artifact, threads: int, calls: int) -> dict[str, dict[str, float]]:
    """Figures of PyTorch and of every variant, by name; `calls` in each round.

    Raises:
        ArtifactError: a backend did not run.
    """
    effort = Effort(1, ROUNDS, 1, 0, 3, calls, calls, 0.0, 600.0)
    settings = {"checkpoint": str(checkpoint), "compile": False}
    workers = [Worker("pytorch", "pointsman.bench.worker_torch", settings)]
    for name in artifact.manifest.variants:
        settings = {"artifact": str(artifact.path), "variant": name}
        workers.append(Worker(name, "pointsman.bench.worker_router", settings))
    scenario = Scenario(Kind.LATENCY, threads, 1, (TOKENS,))
    vocabulary = read_checkpoint(checkpoint).config["vocab_size"]
    with tempfile.TemporaryDirectory() as folder:
        inputs = Inputs(int(vocabulary), Path(folder) / "unused.jsonl")
        found = measure_workers(workers, [scenario], inputs, effort, say)
    if found.failures:
        raise ArtifactError(f"benchmark: {found.failures}")
    timings: dict[str, list[int]] = {worker.backend: [] for worker in workers}
    for run in found.runs:
        timings[run.backend] += run.calls_ns
    return {name: _milliseconds(calls_ns) for name, calls_ns in timings.items()}


def _milliseconds(calls_ns: Sequence[int]) -> dict[str, float]:
    figures = summarize(calls_ns)
    return {
        "avg_time_ms": figures.mean / 1e6,
        "p50_ms": figures.p50 / 1e6,
        "p95_ms": figures.p95 / 1e6,
        "p99_ms": figures.p99 / 1e6,
        "n": figures.n,
    }


def say(line: str) -> None:
    """Progress on standard output, as the guide prints it."""
    print(line, flush=True)
