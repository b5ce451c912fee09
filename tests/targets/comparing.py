"""Comparing a foreign runtime's decisions with Python's, and running scripts in the runtimes' places."""

import os
import subprocess
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from benchmarks.figures import Figure

from pointsman.artifact.store import Artifact
from pointsman.decision import Decision
from pointsman.runtime.probability import cloud_probability
from pointsman.runtime.tokenize import Encoding

ROOT = Path(__file__).parents[2]
RUNTIMES = Path(os.environ.get("POINTSMAN_TARGET_RUNTIMES", ROOT / ".targets"))
SHOWN = {"plain": "fp32", "folded": "folded fp32", "int8": "int8"}
"""A variant's name in the tables."""
INT8_WITHIN = 1e-2
"""How far one int8 file may differ between runtimes: a rounding that falls otherwise moves a whole step."""

FIGURES: dict[str, list[Figure]] = defaultdict(list)
"""The rows of every table: `targets` has what was compared with Python, others what their page shows."""


def runtime(*parts: str) -> Path:
    """A place in the runtimes' folder; skips the test where it is not there."""
    place = RUNTIMES.joinpath(*parts)
    if not place.exists():
        pytest.skip(f"{place} is not installed; run `make test-targets`")
    return place


def ort_place() -> Path:
    """Where ONNX Runtime's headers and library are: Debian's own place, or the folder that make fills."""
    return Path("/usr") if Path("/usr/include/onnxruntime").exists() else runtime("ort")


def compare(
    what: str,
    texts: list[str],
    expected: list[Decision],
    found: list[dict],
    within: float,
    milliseconds: float | None = None,
) -> None:
    """Assert equal labels and targets and close probabilities, and note the figures.

    `found` has `label`, `target` and `p_cloud` (in JavaScript `pCloud`) for each text, and `tokens` where the
    runtime tells them.
    """
    assert len(found) == len(expected)
    told = [name for name in ("label", "target", "tokens") if name in found[0]]
    assert told[:2] == ["label", "target"]
    differing = [
        (text, one.label, other["label"])
        for text, one, other in zip(texts, expected, found, strict=True)
        if any(getattr(one, name) != other[name] for name in told)
    ]
    p_cloud = "pCloud" if "pCloud" in found[0] else "p_cloud"
    worst = max(abs(one.p_cloud - other[p_cloud]) for one, other in zip(expected, found, strict=True))
    shown = f"{len(differing)} of {len(found):,} decisions differ, p(cloud) by at most {worst:.1e}"
    if milliseconds is not None:
        shown += f", {milliseconds:.3g} ms a text"
    FIGURES["targets"].append(Figure(what, shown, aim=f"0 differ, at most {within:.0e}"))
    assert not differing, differing[:5]
    assert worst <= within


def label_of(p_cloud: float) -> str:
    """The more probable label, for runtimes that tell the probability and the target only."""
    return "cloud" if p_cloud >= 0.5 else "local"


def decisions_of(artifact: Artifact, logits: np.ndarray, encodings: Sequence[Encoding]) -> list[dict]:
    """What Python decides from a bare graph's logits (texts x 2), to be compared with its own."""
    manifest = artifact.manifest
    probabilities = cloud_probability(logits, manifest.labels.cloud_index, manifest.calibration)
    found = []
    for p, encoding in zip(probabilities.tolist(), encodings, strict=True):
        tokens = len(encoding.ids)
        verdict = manifest.policy.decide(p, is_empty=tokens <= 2, is_unreadable=encoding.is_unreadable)
        found.append({"label": verdict.label, "target": verdict.target, "tokens": tokens, "p_cloud": p})
    return found


def peer(name, script, *arguments):
    """Run a script in a peer's environment; returns what it printed."""
    python = runtime(name, "bin", "python")
    done = subprocess.run(
        [python, "-c", script, *map(str, arguments)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip()
