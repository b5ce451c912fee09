"""The benchmark of a router, from an artifact to data: plan, measure, collect."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from pointsman.artifact.layout import CONFIG, TOKENIZER
from pointsman.artifact.store import Artifact
from pointsman.bench.backends import Plan, make_plan
from pointsman.bench.environment import capture_environment
from pointsman.bench.profile import profile_run
from pointsman.bench.results import Backend, Benchmark
from pointsman.bench.runner import (
    Inputs,
    Measured,
    measure_programs,
    measure_workers,
)
from pointsman.bench.scenarios import Preset
from pointsman.datasets.reading import project_queries, read_texts
from pointsman.errors import ArtifactError
from pointsman.progress import Progress
from pointsman.runtime.session import available_threads
from pointsman.runtime.tokenize import TextEncoder

PROFILED = ((1, 16), (1, 128), (32, 32))
"""Batch and tokens of the profiled runs."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to measure.

    Attributes:
        reference: the checkpoint that it was made from; None leaves out what needs one.
        queries: a file of queries, JSONL or one a line; None takes the ones that come with the package.
        threads: threads of every scenario; None leaves what the scenarios say.
        command: the command that measures this again, without paths.
        profile: whether to say where the time of a run goes, per operator and block.
    """

    artifact: Artifact
    reference: Path | None
    preset: Preset
    queries: Path | None = None
    threads: int | None = None
    command: str = ""
    profile: bool = False


def measure(request: Request, progress: Progress) -> Benchmark:
    """Measure everything that was asked for; takes a minute (quick) to half an hour (full, large models).

    Raises:
        ArtifactError: the artifact cannot be used.
        DataError: the queries cannot be read.
    """
    environment = capture_environment()
    artifact = request.artifact
    texts = read_texts(request.queries) if request.queries else project_queries()
    lengths = _token_counts(artifact, texts)
    scenarios = request.preset.concrete(
        available=available_threads(),
        threads=request.threads,
        lengths=lengths,
        max_tokens=artifact.manifest.limits.max_tokens,
    )
    with TemporaryDirectory(prefix="pointsman-bench-") as folder:
        progress("preparing what to compare with")
        plan = make_plan(artifact, request.reference, scenarios, Path(folder), request.preset.leave_out)
        queries = Path(folder) / "queries.jsonl"
        queries.write_text("".join(json.dumps({"query": text}) + "\n" for text in texts), encoding="utf-8")
        inputs = Inputs(_vocab_size(artifact), queries)
        effort = request.preset.effort
        measured = measure_workers(plan.workers, scenarios, inputs, effort, progress)
        if request.profile:
            progress("  profile")
            plan.facts["profile"] = profile_run(artifact, PROFILED)
        whole = measure_programs(plan.programs, scenarios, effort, progress)
    return Benchmark(
        subject=f"{artifact.manifest.name} ({artifact.manifest.model_type})",
        command=request.command,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        environment=environment,
        scenarios=scenarios,
        backends=_backends(plan, (measured, whole)),
        runs=(*measured.runs, *whole.runs),
        facts={**plan.facts, **_facts(request, lengths)},
    )


def _backends(plan: Plan, parts: Sequence[Measured]) -> tuple[Backend, ...]:
    """The plan's backends; those that failed on the way say why."""
    failures = {name: reason for part in parts for name, reason in part.failures.items()}
    return tuple(
        replace(one, skipped=f"failed: {failures[one.name]}") if one.name in failures else one
        for one in plan.backends
    )


def _facts(request: Request, lengths: Sequence[int]) -> dict[str, Any]:
    manifest = request.artifact.manifest
    p50, p90, p99 = (float(value) for value in np.percentile(lengths, (50, 90, 99)))
    return {
        "available_threads": request.threads or available_threads(),
        "artifact_id": manifest.id,
        "model_type": manifest.model_type,
        "default_variant": manifest.default_variant,
        "queries": {"n": len(lengths), "tokens_p50": p50, "tokens_p90": p90, "tokens_p99": p99},
        "conversion": dict(manifest.conversion),
        "parity": dict(manifest.parity),
        "provenance": dict(manifest.provenance),
    }


def _token_counts(artifact: Artifact, texts: Sequence[str]) -> list[int]:
    """Tokens per query, as the artifact reads them."""
    encoder = TextEncoder(artifact.read(TOKENIZER), artifact.manifest.limits)
    return [len(encoding.ids) for encoding in encoder.encode_many(texts)]


def _vocab_size(artifact: Artifact) -> int:
    try:
        return int(json.loads(artifact.read(CONFIG))["vocab_size"])
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{CONFIG} of {artifact.path} names no vocab_size: {error!r}.") from None
