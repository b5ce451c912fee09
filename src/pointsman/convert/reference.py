"""The torch side of parity: the checkpoint's own answers, in float32 and in float64."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoTokenizer

from pointsman.artifact.manifest import Limits
from pointsman.convert.checkpoint import Checkpoint
from pointsman.convert.inputs import ProofTexts
from pointsman.errors import CheckpointError
from pointsman.evaluation.parity import Reference, answers_alone
from pointsman.runtime.tokenize import bounded_text


class TorchBackend:
    """A torch classifier behind the interface that parity compares."""

    threads = 1
    """PyTorch shares one run between threads of its own."""

    def __init__(self, model: Any) -> None:
        """Take a module in eval mode; its dtype is the arithmetic's."""
        self._model = model

    def run(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> NDArray[Any]:
        """Logits (batch, labels) in the module's dtype."""
        with torch.inference_mode():
            answer = self._model(
                input_ids=torch.from_numpy(input_ids), attention_mask=torch.from_numpy(attention_mask)
            )
        logits: NDArray[Any] = answer.logits.numpy()
        return logits


def load_tokenizer(checkpoint: Checkpoint) -> Any:
    """The checkpoint's tokenizer as transformers has it.

    Raises:
        CheckpointError: transformers cannot load it.
    """
    try:
        return AutoTokenizer.from_pretrained(checkpoint.path, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # noqa: BLE001 - its Rust core raises untyped exceptions
        raise CheckpointError(f"{checkpoint.path}: transformers cannot load the tokenizer: {error}") from None


def same_tokens(checkpoint: Checkpoint, proof: ProofTexts, limits: Limits) -> None:
    """Hold what the artifact reads of a text against what transformers reads of it.

    Raises:
        CheckpointError: they differ: the tokenizer's files contradict each other; the first such text.
    """
    count = len(proof.texts) - proof.made
    how: dict[str, Any] = {"truncation": True, "max_length": limits.max_tokens, "split_special_tokens": True}
    tokenizer = load_tokenizer(checkpoint)
    try:
        read = [tokenizer(bounded_text(text, limits), **how).input_ids for text in proof.texts[:count]]
    except Exception as error:  # noqa: BLE001 - its Rust core raises untyped exceptions
        raise CheckpointError(f"{checkpoint.path}: transformers cannot use the tokenizer: {error}") from None
    for text, found, wanted in zip(proof.texts[:count], proof.tokens[:count], read, strict=True):
        if (wanted or [proof.pad_id]) != found:
            raise CheckpointError(
                f"{checkpoint.path}: tokenizer.json and tokenizer_config.json read texts differently, so a "
                f"training and a router would, too. First at {text[:80]!r}: transformers reads "
                f"{tokenizer.convert_ids_to_tokens(wanted)[:12]}, tokenizer.json "
                f"{tokenizer.convert_ids_to_tokens(found)[:12]}. Save the tokenizer that the model was "
                "trained with again: tokenizer.save_pretrained(directory)."
            )


def torch_reference(model: Any, proof: ProofTexts, cloud_index: int) -> Reference:
    """Answers in float32, as users get them, and in float64, as they should be.

    The module is left in float32.
    """
    logits = answers_alone(TorchBackend(model), proof.tokens).astype(np.float32)
    exact = answers_alone(TorchBackend(model.double()), proof.tokens).astype(np.float64)
    model.float()
    return Reference(proof.texts, proof.tokens, logits, exact, cloud_index, proof.pad_id)
