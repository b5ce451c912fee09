"""The files of a checkpoint directory: which there must be, and what people have instead of them."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from pointsman.artifact.layout import CONFIG, TOKENIZER
from pointsman.artifact.strict_json import parse_strict
from pointsman.errors import CheckpointError

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
_PICKLE = re.compile(r"(?!training_args|optimizer|scheduler|rng_state).*\.(bin|pt|pth|ckpt|pkl|pickle)")
_CONFIG_LIMIT_BYTES = 1 << 20


def explain_other_directories(path: Path) -> None:
    """One line that helps, for what people have instead of a checkpoint.

    Raises:
        CheckpointError: a LoRA adapter, a Trainer's output directory, or files that Git LFS did not fetch.
    """
    if (path / "adapter_config.json").is_file() and not (path / WEIGHTS).is_file():
        raise CheckpointError(
            f"{path} is a LoRA adapter without its base model. Merge the two and save the result: "
            "AutoPeftModelForSequenceClassification.from_pretrained(directory)"
            ".merge_and_unload().save_pretrained(merged), and the tokenizer beside it."
        )
    steps = [p for p in path.glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", p.name)]
    if steps and not (path / CONFIG).is_file():
        last = max(steps, key=lambda step: int(step.name.partition("-")[2]))
        raise CheckpointError(
            f"{path} is a Trainer's output directory. Export one of its checkpoints: {last}."
        )
    for file in (*sorted(path.glob("*.safetensors")), path / TOKENIZER):
        if (
            file.is_file()
            and file.stat().st_size < 1024
            and file.read_bytes().startswith(b"version https://git-lfs")
        ):
            raise CheckpointError(
                f"{file} is a pointer of Git LFS, not the file. Run `git lfs pull` in {path}."
            )


def require_safetensors(path: Path) -> None:
    """Raise CheckpointError where the weights are not there, or are pickled."""
    if (path / WEIGHTS).is_file():
        return
    if (path / INDEX).is_file():
        missing = [file.name for file in weight_files(path) if not file.is_file()]
        if missing:
            raise CheckpointError(f"{path}: {INDEX} names {missing[0]}, which is not there. Copy it, too.")
        return
    pickles = [name for name in sorted(p.name for p in path.iterdir()) if _PICKLE.fullmatch(name)]
    if pickles:
        raise CheckpointError(
            f"{path} has {pickles[0]}, a pickle, which may run code when it is opened; it is refused. "
            "Load it where you trust it and save it again: "
            "model.save_pretrained(directory, safe_serialization=True)."
        )
    found = sorted(p.name for p in path.iterdir())[:10]
    raise CheckpointError(f"{path}: expected {WEIGHTS}, found {found or 'an empty directory'}.")


def weight_files(path: Path) -> list[Path]:
    """The safetensors that hold the weights: one, or the shards that an index names.

    Raises:
        CheckpointError: an index that is not understood.
    """
    if (path / WEIGHTS).is_file():
        return [path / WEIGHTS]
    names = read_json(path / INDEX).get("weight_map")
    if not isinstance(names, dict) or not all(
        isinstance(n, str) and Path(n).name == n for n in names.values()
    ):
        raise CheckpointError(f"{path / INDEX}: weight_map: expected tensor names to file names.")
    return [path / name for name in sorted(set(names.values()))]


def read_tensors(files: Iterable[Path]) -> dict[str, NDArray[Any]]:
    """Every tensor of some safetensors, finite; bfloat16 as float32.

    Raises:
        CheckpointError: truncated or hostile safetensors, 8-bit numbers, or NaN or infinity in a tensor.
    """
    tensors: dict[str, NDArray[Any]] = {}
    for file in files:
        try:
            tensors.update(load_file(file))
        except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
            raise CheckpointError(f"{file} cannot be read: {error}. Copy the checkpoint again.") from None
        except AttributeError as error:  # numpy.float8_e4m3fn
            raise CheckpointError(
                f"{file}: expected weights of 16, 32 or 64 bits, found {error.name}. "
                "Export the checkpoint that was quantized."
            ) from None
    for name, tensor in tensors.items():
        if tensor.dtype.name == "bfloat16":  # a type that NumPy knows from another package
            tensor = tensors[name] = tensor.astype(np.float32)
        if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
            bad = int(np.count_nonzero(~np.isfinite(tensor)))
            raise CheckpointError(
                f"{WEIGHTS}: {name}: expected finite weights, "
                f"found {bad} of {tensor.size} NaN or infinite. "
                "The training diverged; use an earlier checkpoint."
            )
    return tensors


def present_name(name: str) -> str:
    """A tensor's name as transformers gives it; norms that began in TensorFlow had others."""
    for old, new in ((".gamma", ".weight"), (".beta", ".bias")):
        if name.endswith(f"LayerNorm{old}"):
            return name.removesuffix(old) + new
    return name


def check_tokenizer(path: Path, config: Mapping[str, Any]) -> None:
    """Raise CheckpointError where the fast tokenizer is missing, unusable, or of another vocabulary."""
    file = path / TOKENIZER
    if not file.is_file():
        raise CheckpointError(
            f"{path}: {TOKENIZER} is missing. Save the fast tokenizer beside the weights: "
            "AutoTokenizer.from_pretrained(directory).save_pretrained(directory)."
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


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of at most 1 MiB.

    Raises:
        CheckpointError: it cannot be read, or is something else.
    """
    try:
        if path.exists() and not path.is_file():
            raise CheckpointError(f"{path} cannot be read: it is no file.")
        if path.stat().st_size > _CONFIG_LIMIT_BYTES:
            raise CheckpointError(f"{path} is larger than 1 MiB; that is no configuration.")
        data = parse_strict(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON: {error}.") from None
    if not isinstance(data, dict):
        raise CheckpointError(f"{path}: expected a JSON object, found {type(data).__name__}.")
    return data
