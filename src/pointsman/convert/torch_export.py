"""The exporter path: any Hugging Face sequence classifier to a plain ONNX file, with torch.

Standard operators only, one file, dynamic `batch` and `sequence`. From opset 18 on torch's current
exporter writes it; below, down to 14, its TorchScript one, because the current one would leave the file
at 18. The opset is read back from the file.
"""

import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import torch
from safetensors.numpy import save_file
from transformers import AutoModelForSequenceClassification
from transformers.utils import logging as transformers_logging

from pointsman.artifact.layout import CONFIG
from pointsman.checkpoint.torch_word_experts import attach_word_experts
from pointsman.convert.checkpoint import Checkpoint
from pointsman.convert.checkpoint_files import WEIGHTS
from pointsman.convert.options import Shape
from pointsman.errors import CheckpointError, ConversionError

_EXPORTER_OPSET = 18
_INPUTS = ["input_ids", "attention_mask"]


def load_model(checkpoint: Checkpoint) -> Any:
    """The checkpoint as a torch module in eval mode, float32, eager attention, word experts included.

    Raises:
        CheckpointError: the weights do not fit the configuration.
    """
    return attach_word_experts(load_network(checkpoint), checkpoint.path, checkpoint.labels.cloud_index)


def load_network(checkpoint: Checkpoint) -> Any:
    """The same without word experts: what an exporter is given.

    Raises:
        CheckpointError: the weights do not fit the configuration.
    """
    try:
        with _quiet_transformers(), _loadable(checkpoint) as path:
            model, facts = AutoModelForSequenceClassification.from_pretrained(
                path,
                attn_implementation="eager",
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
            )
    except Exception as error:  # noqa: BLE001 - its checks of a configuration have classes of their own
        first = _in_one_line(error)
        raise CheckpointError(f"{checkpoint.path} cannot be loaded by transformers: {first}") from None
    missing = sorted(facts["missing_keys"])
    if mismatched := sorted(facts["mismatched_keys"], key=str):
        name, found, expected = mismatched[0]
        raise CheckpointError(
            f"{checkpoint.path}: {name}: expected shape {tuple(expected)} by config.json, "
            f"found {tuple(found)} ({len(mismatched)} such tensors in all). "
            "Take the config.json that was saved with these weights."
        )
    if missing:
        raise CheckpointError(
            f"{checkpoint.path}: the weights do not fit a {checkpoint.model_type} of this configuration; "
            f"missing {missing[:3]} ({len(missing)} in all), which transformers would fill with random "
            f"numbers; not used: {sorted(facts['unexpected_keys'])[:3]}."
        )
    if model.config.pad_token_id is None:
        # Decoders look for the last token that is no padding.
        model.config.pad_token_id = checkpoint.pad_token_id
    model.config.return_dict = True
    return _running(model.eval(), checkpoint)


def _running(model: Any, checkpoint: Checkpoint) -> Any:
    """The model; raises CheckpointError where it fails on two tokens, as some configurations must."""
    try:
        example = torch.ones((2, 2), dtype=torch.long)
        with torch.inference_mode():
            model(input_ids=example, attention_mask=torch.ones_like(example))
    except Exception as error:  # noqa: BLE001 - what a model's own code raises
        raise CheckpointError(
            f"{checkpoint.path}: a {checkpoint.model_type} of this configuration does not run on two tokens: "
            f"{_in_one_line(error)}"
        ) from None
    return model


def export_plain(model: Any, opset: int, shape: Shape) -> onnx.ModelProto:
    """Export with torch and read the result back.

    Raises:
        ConversionError: an exporter that fails, or a file of another opset than asked.
    """
    example = torch.ones((shape.batch or 2, shape.sequence or 8), dtype=torch.long)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "model.onnx"
        try:
            with warnings.catch_warnings():
                # Both exporters warn about their own internals (deprecations, shared dimension names).
                warnings.simplefilter("ignore")
                _quietly(_export, model, example, path, opset, shape.is_fixed)
            exported = onnx.load(path)
        except Exception as error:
            raise ConversionError(
                f"torch's exporter failed at opset {opset}: {_in_one_line(error)}"
            ) from error
    found = opset_of(exported)
    if found != opset:
        raise ConversionError(f"asked for opset {opset}, but the exporter wrote {found}. Ask for {found}.")
    return exported


def _in_one_line(error: BaseException) -> str:
    """The first line of what was wrong in the first place; exporters wrap it in pages of advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def opset_of(model: onnx.ModelProto) -> int:
    """The version of the standard operators that a file declares."""
    return next(int(item.version) for item in model.opset_import if item.domain in ("", "ai.onnx"))


def _export(model: Any, example: torch.Tensor, path: Path, opset: int, is_fixed: bool) -> None:
    axes = {name: {0: "batch", 1: "sequence"} for name in _INPUTS}
    arguments: dict[str, Any] = {"input_names": _INPUTS, "output_names": ["logits"], "opset_version": opset}
    wrapped = _LogitsOnly(model)
    if opset >= _EXPORTER_OPSET:
        torch.onnx.export(
            wrapped,
            (example, torch.ones_like(example)),
            path,
            dynamo=True,
            external_data=False,
            verbose=False,
            dynamic_shapes=None if is_fixed else axes,
            **arguments,
        )
    else:
        dynamic = {} if is_fixed else {**axes, "logits": {0: "batch"}}
        torch.onnx.export(
            wrapped,
            (example, torch.ones_like(example)),
            path,
            dynamo=False,
            dynamic_axes=dynamic,
            **arguments,
        )


class _LogitsOnly(torch.nn.Module):  # type: ignore[misc]
    """The model's logits as a bare tensor: exporters name what a dataclass holds after its fields."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        # The TorchScript exporter puts back the mode of what it was given: a wrapper in training mode would
        # hand the model back with dropout on.
        self.train(model.training)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        return self.model(input_ids=input_ids, attention_mask=attention_mask).logits


@contextmanager
def _loadable(checkpoint: Checkpoint) -> Iterator[Path]:
    """The checkpoint's directory; where a wrapper left a prefix, one without it."""
    if not checkpoint.prefix:
        yield checkpoint.path
        return
    with tempfile.TemporaryDirectory() as directory:
        shutil.copyfile(checkpoint.path / CONFIG, Path(directory) / CONFIG)
        save_file(checkpoint.weights(), Path(directory) / WEIGHTS, metadata={"format": "pt"})
        yield Path(directory)


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Without transformers' progress bar and load report; what matters in it becomes an error."""
    enabled, verbosity = transformers_logging.is_progress_bar_enabled(), transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if enabled:
            transformers_logging.enable_progress_bar()


def _quietly(function: Any, *arguments: Any) -> None:
    """Run with the exporters' loggers silenced: they report every pass at warning level."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        function(*arguments)
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
