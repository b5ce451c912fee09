"""A training run on disk: safetensors and JSON only, each save beside, synced and renamed."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from pointsman.errors import TrainingError

_TENSORS = "state.safetensors"
_FACTS = "state.json"
_RUN = "run.json"


def save_state(directory: Path, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
    """Save a resumable state; the last good one stays where the disk refuses the new one.

    Raises:
        TrainingError: the disk refused.
    """
    partial = directory / f"{_TENSORS}.partial"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # The step stands in both files: a crash between the two renames is seen when they are read.
        save_file(
            {k: v.contiguous() for k, v in tensors.items()}, partial, metadata={"step": str(facts["step"])}
        )
        partial.replace(directory / _TENSORS)
        write_json(directory / _FACTS, facts)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise TrainingError(
            f"cannot save to {directory}: {error.strerror}. The last good state stays."
        ) from None


def load_state(directory: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
    """The saved state; None where there is none."""
    if not (directory / _TENSORS).is_file() or not (directory / _FACTS).is_file():
        return None
    facts = json.loads((directory / _FACTS).read_text(encoding="utf-8"))
    return load_file(directory / _TENSORS), facts


def claim_directory(directory: Path, settings: Mapping[str, Any]) -> None:
    """Mark a run's directory with its settings, so that only the same run goes on in it.

    Raises:
        TrainingError: another run is there, or the disk refused.
    """
    marker = directory / _RUN
    wanted = json.loads(json.dumps(settings, default=str))
    try:
        if marker.is_file():
            found = json.loads(marker.read_text(encoding="utf-8"))
            changed = sorted(k for k in {*found, *wanted} if found.get(k) != wanted.get(k))
            if changed:
                raise TrainingError(
                    f"{directory} holds a run with other settings ({', '.join(changed)}). "
                    "Choose another --output, or give the same settings to go on."
                )
            return
        directory.mkdir(parents=True, exist_ok=True)
        write_json(marker, wanted)
    except (OSError, ValueError) as error:
        raise TrainingError(f"cannot use {directory} for a run: {error}.") from None


def write_json(path: Path, value: Any) -> None:
    """Write JSON beside, then rename."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    partial.replace(path)
