"""Where the time of a run goes: ONNX Runtime's own profile of the default variant, per operator and block."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime as ort

from pointsman.artifact.store import Artifact
from pointsman.runtime.router import has_to_be_optimized
from pointsman.runtime.session import named_feed, session_options

RUNS = 15
WARMUPS = 3
BETWEEN = "between operators"
_KERNEL = "_kernel_time"
_BLOCK = re.compile(r"(?:block|layers?|h)[./_](\d+)(?=[./_])")


def profile_run(artifact: Artifact, shapes: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """Milliseconds a run on one thread, by shape; what lies between the operators is a row of its own.

    Args:
        artifact: its default variant is run, as the router runs it.
        shapes: batch and tokens; rows longer than the artifact reads are cut.
    """
    longest = artifact.manifest.limits.max_tokens
    cut = dict.fromkeys((batch, min(length, longest)) for batch, length in shapes)
    return {f"{batch}x{length}": _shape(artifact, batch, length) for batch, length in cut}


def _shape(artifact: Artifact, batch: int, length: int) -> dict[str, Any]:
    manifest = artifact.manifest
    ids = np.full((batch, length), 7, np.int64)
    with TemporaryDirectory(prefix="pointsman-profile-") as folder:
        options = session_options(has_to_be_optimized(manifest, manifest.default_variant))
        options.enable_profiling, options.profile_file_prefix = True, str(Path(folder) / "run")
        file = str(artifact.path / manifest.variants[manifest.default_variant])
        session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        feed = named_feed((item.name for item in session.get_inputs()), ids, np.ones_like(ids))
        for _ in range(WARMUPS + RUNS):
            session.run(None, feed)
        events = json.loads(Path(session.end_profiling()).read_bytes())
    return time_of_parts(events)


def time_of_parts(events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """ONNX Runtime's events of some runs as tables: the median time of every node, summed up by its kind."""
    whole = [event["dur"] for event in events if event["name"] == "model_run"][WARMUPS:]
    nodes: dict[str, list[Mapping[str, Any]]] = {}
    for event in events:
        if event["name"].endswith(_KERNEL):
            nodes.setdefault(event["name"], []).append(event)
    times = [(found[0], median(event["dur"] for event in found[WARMUPS:])) for found in nodes.values()]
    total = max(median(whole), sum(time for _, time in times))
    tables = {"operators": _table(times, _operator, total), "blocks": _table(times, _block, total)}
    return {name: table for name, table in tables.items() if len(table) > 2}


def _table(
    times: Sequence[tuple[Mapping[str, Any], float]],
    name_of: Callable[[Mapping[str, Any]], str],
    total: float,
) -> list[dict[str, Any]]:
    """Rows from the slowest on; times in microseconds."""
    parts: dict[str, list[float]] = {}
    for event, time in times:
        parts.setdefault(name_of(event), []).append(time)
    rows = sorted(parts.items(), key=lambda row: -sum(row[1]))
    rows.append((BETWEEN, [total - sum(time for _, time in times)]))
    return [
        {
            "part": name,
            "nodes": 0 if name == BETWEEN else len(found),
            "ms": sum(found) / 1000,
            "percent": 100 * sum(found) / total,
        }
        for name, found in rows
    ]


def _operator(event: Mapping[str, Any]) -> str:
    return str(event["args"]["op_name"])


def _block(event: Mapping[str, Any]) -> str:
    found = _BLOCK.search(event["name"])
    return f"block {found[1]}" if found else "outside of blocks"
