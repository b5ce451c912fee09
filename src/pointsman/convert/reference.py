"""The torch side of parity: the checkpoint's own answers, in float32 and in float64."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pointsman.evaluation.parity import Reference, Tokens, answers_alone


class TorchBackend:
    """A torch classifier behind the interface that parity compares."""

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


def torch_reference(model: Any, tokens: Tokens) -> Reference:
    """Answers in float32, as users get them, and in float64, as they should be.

    The module is left in float32.
    """
    logits = answers_alone(TorchBackend(model), tokens).astype(np.float32)
    exact = answers_alone(TorchBackend(model.double()), tokens).astype(np.float64)
    model.float()
    return Reference(logits, exact)
