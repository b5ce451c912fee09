"""What docs/benchmarking.md says about cores, computed from results/cores/cores.json."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

RESULT = Path(__file__).resolve().parents[1] / "results" / "cores" / "cores.json"


def measured_table(parts: Mapping[str, Any]) -> str:
    return ""
