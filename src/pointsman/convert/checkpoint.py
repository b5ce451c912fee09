"""A trained checkpoint on disk: a Hugging Face directory, read without torch, trusted only after checks."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from pointsman.artifact.digest import artifact_id, digest_file
from pointsman.artifact.layout import CONFIG, TOKENIZER, TOKENIZER_COMPANIONS
from pointsman.artifact.manifest import Calibration, Chat
from pointsman.errors import CheckpointError, PointsmanError
from pointsman.labels import LabelSet

WEIGHTS = "model.safetensors"
CALIBRATION = "calibration.json"
_PICKLES = ("pytorch_model.bin", "model.pt", "pytorch_model.pt", "model.pth")
_CONFIG_LIMIT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint whose files were found and whose configuration was understood.

    Attributes:
        path: the directory.
        config: `config.json`.
        labels: `local` and `cloud`, in the order of the logits.
        calibration: from `calibration.json`, where there is one.
        curve: from the same file, what it was fitted on; None where that is not said.
        sha256: identity of the files that matter, 64 hexadecimal digits.
    """

    path: Path
    config: Mapping[str, Any]
    labels: LabelSet
    calibration: Calibration | None
    curve: Mapping[str, Any] | None
    sha256: str

    @property
    def model_type(self) -> str:
        """The architecture, for example `mobilebert`."""
        return str(self.config["model_type"])

    @property
    def chat(self) -> Chat:
        """How a chat was read in training: `earlier_turns` and `last_turn_first` of the config.

        Raises:
            ManifestError: the first is no whole number of at least 0, or the second not true or false.
        """
        return Chat(self.config.get("earlier_turns", 0), self.config.get("last_turn_first", False))

    @property
    def scripts(self) -> tuple[str, ...]:
        """Scripts that the router reads: `scripts` of the config; MobileBERT was trained on English."""
        return tuple(self.config.get("scripts", ("LATIN",) if self.model_type == "mobilebert" else ()))

    @property
    def max_positions(self) -> int | None:
        """The longest sequence that the position table holds, in tokens; None where the config is silent."""
        value = self.config.get("max_position_embeddings")
        return value if isinstance(value, int) else None

    @property
    def tokenizer_files(self) -> list[Path]:
        """`tokenizer.json` and those of its companions that are there."""
        names = (TOKENIZER, *TOKENIZER_COMPANIONS)
        return [self.path / name for name in names if (self.path / name).is_file()]

    def weights(self) -> dict[str, NDArray[Any]]:
        """Every tensor, finite.

        Raises:
            CheckpointError: truncated or hostile safetensors, or NaN or infinity in a tensor.
        """
        try:
            tensors = load_file(self.path / WEIGHTS)
        except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
            raise CheckpointError(
                f"{self.path / WEIGHTS} cannot be read: {error}. Copy the checkpoint again."
            ) from None
        for name, tensor in tensors.items():
            if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
                bad = int(np.count_nonzero(~np.isfinite(tensor)))
                raise CheckpointError(
                    f"{WEIGHTS}: {name}: expected finite weights, "
                    f"found {bad} of {tensor.size} NaN or infinite. "
                    "The training diverged; use an earlier checkpoint."
                )
        return tensors


def read_checkpoint(path: Path) -> Checkpoint:
    """Find and check a checkpoint's files.

    Raises:
        CheckpointError: not a directory, a file missing or unreadable, weights that are pickled, labels that
            are missing or contradict each other, a tokenizer of another vocabulary.
    """
    if not path.is_dir():
        raise CheckpointError(
            f"checkpoint {path}: expected a directory with {CONFIG} and {WEIGHTS}, found none."
        )
    config = _read_json(path / CONFIG)
    if not isinstance(config.get("model_type"), str):
        raise CheckpointError(
            f"{path / CONFIG}: model_type: expected a name such as 'mobilebert', found none."
        )
    _require_safetensors(path)
    labels = _labels(config, path / CONFIG)
    _check_tokenizer(path, config)
    names = [n for n in (CONFIG, WEIGHTS, TOKENIZER, CALIBRATION) if (path / n).is_file()]
    return Checkpoint(
        path,
        config,
        labels,
        *_calibration(path),
        artifact_id({name: digest_file(path / name) for name in names}),
    )


def _require_safetensors(path: Path) -> None:
    if (path / WEIGHTS).is_file():
        return
    pickles = [name for name in _PICKLES if (path / name).exists()]
    if pickles:
        raise CheckpointError(
            f"{path} has {pickles[0]}, a pickle, which may run code when it is opened; it is refused. "
            "Load it where you trust it and save it again: "
            "model.save_pretrained(directory, safe_serialization=True)."
        )
    found = sorted(p.name for p in path.iterdir())[:10]
    raise CheckpointError(f"{path}: expected {WEIGHTS}, found {found or 'an empty directory'}.")


def _labels(config: Mapping[str, Any], where: Path) -> LabelSet:
    id2label, label2id = config.get("id2label"), config.get("label2id")
    if not isinstance(id2label, dict) or not id2label:
        raise CheckpointError(
            f"{where}: id2label is missing, so nobody knows which logit means what. "
            'Add "id2label": {"0": "local", "1": "cloud"} in the order that the model was trained with.'
        )
    try:
        labels = LabelSet.from_id2label(id2label)
    except PointsmanError as error:
        raise CheckpointError(f"{where}: {error}") from None
    if isinstance(label2id, dict) and label2id:
        other = {str(name).strip().lower(): index for name, index in label2id.items()}
        if other != {name: index for index, name in enumerate(labels.names)}:
            raise CheckpointError(
                f"{where}: id2label {id2label} and label2id {label2id} contradict each other."
            )
    return labels


def _check_tokenizer(path: Path, config: Mapping[str, Any]) -> None:
    file = path / TOKENIZER
    if not file.is_file():
        raise CheckpointError(
            f"{path}: {TOKENIZER} is missing. Save the fast tokenizer beside the weights: "
            "tokenizer.save_pretrained(directory)."
        )
    try:
        tokenizer = Tokenizer.from_buffer(file.read_bytes())
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        raise CheckpointError(f"{file} is not a usable tokenizer: {error}") from None
    size = config.get("vocab_size")
    largest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
    if isinstance(size, int) and largest >= size:
        raise CheckpointError(
            f"{file} has token ids up to {largest}, but {CONFIG} says vocab_size {size}: another vocabulary. "
            "Use the tokenizer that the model was trained with."
        )


def _calibration(path: Path) -> tuple[Calibration | None, Mapping[str, Any] | None]:
    """The calibration and the curve over the queries that it was fitted on."""
    file = path / CALIBRATION
    if not file.is_file():
        return None, None
    data = _read_json(file)
    try:
        found = Calibration(**{name: data[name] for name in ("method", "a", "b", "data_sha256", "n")})
    except (KeyError, TypeError, PointsmanError) as error:
        raise CheckpointError(
            f"{file} is not understood: {error}. Run `pointsman calibrate` again."
        ) from None
    curve = data.get("curve")
    return found, curve if isinstance(curve, Mapping) else None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _CONFIG_LIMIT_BYTES:
            raise CheckpointError(f"{path} is larger than 1 MiB; that is no configuration.")
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not JSON: {error}.") from None
    if not isinstance(data, dict):
        raise CheckpointError(f"{path}: expected a JSON object, found {type(data).__name__}.")
    return data
