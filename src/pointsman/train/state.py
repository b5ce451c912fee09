"""A training run on disk: safetensors and JSON only, each save beside, synced and renamed."""

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from pointsman.artifact.atomic import atomic_write, sync
from pointsman.artifact.digest import artifact_id, digest_file
from pointsman.artifact.strict_json import parse_strict
from pointsman.errors import TrainingError

_STATE = "state.safetensors"
_RUN = "run.json"


def save_state(directory: Path, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
    """Save a resumable state: one file, with its own digest; the last good one stays where the disk refuses.

    Raises:
        TrainingError: the disk refused.
    """
    partial = directory / f"{_STATE}.partial"
    kept = {name: tensor.contiguous() for name, tensor in tensors.items()}
    text = json.dumps(facts, allow_nan=False)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        save_file(kept, partial, metadata={"facts": text, "sha256": _digest(kept, text)})
        sync(partial)
        partial.replace(directory / _STATE)
        sync(directory)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise TrainingError(
            f"cannot save to {directory}: {error.strerror}. The last good state stays."
        ) from None


def load_state(directory: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
    """The saved state; None where there is none.

    Raises:
        TrainingError: it is torn or altered: it is never resumed.
    """
    path = directory / _STATE
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as stream:
            metadata = stream.metadata() or {}
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 - no mapping
        facts = parse_strict(metadata["facts"])
        is_whole = metadata["sha256"] == _digest(tensors, metadata["facts"]) and isinstance(facts, dict)
    except (OSError, ValueError, KeyError, SafetensorError):
        is_whole = False
    if not is_whole:
        raise TrainingError(
            f"{path} is torn or was altered, so the run cannot go on from it. "
            f"Remove {directory.parent} to start again."
        )
    return tensors, facts


def _digest(tensors: Mapping[str, torch.Tensor], facts: str) -> str:
    digest = hashlib.sha256(facts.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b"")
    return digest.hexdigest()


def content_of(examples: Iterable[object]) -> str:
    """SHA-256 of examples in order, texts and labels: a run's data, whatever their files are called."""
    digest = hashlib.sha256()
    for example in examples:
        digest.update(repr(example).encode("utf-8", "replace") + b"\0")
    return digest.hexdigest()


def content_of_model(model: str | Path | None) -> str | None:
    """SHA-256 over the names and contents of a model directory's files; None for a name elsewhere."""
    if model is None or not Path(model).is_dir():
        return None
    return artifact_id({path.name: digest_file(path) for path in Path(model).iterdir() if path.is_file()})


def claim_directory(directory: Path, settings: Mapping[str, Any]) -> None:
    """Mark a run's directory with its settings, so that only the same run goes on in it.

    Raises:
        TrainingError: another run is there, or the disk refused.
    """
    marker = directory / _RUN
    wanted = json.loads(json.dumps(settings, default=str))
    try:
        if marker.is_file():
            found = parse_strict(marker.read_bytes())
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


@contextmanager
def replaced(directory: Path) -> Iterator[Path]:
    """A directory to fill, which takes the place of `directory` when the block ends; whole or not at all.

    Raises:
        TrainingError: the disk refused; `directory` is as it was.
    """
    partial = directory.with_name(f".{directory.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        yield partial
        shutil.rmtree(directory, ignore_errors=True)
        partial.rename(directory)
    except OSError as error:
        raise TrainingError(f"cannot write {directory}: {error.strerror}. What was there stays.") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_json(path: Path, value: Any) -> None:
    """Write JSON beside, sync, then rename."""
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    with atomic_write(path, path.with_name(f".{path.name}.partial")) as stream:
        stream.write(text.encode())
