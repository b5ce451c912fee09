"""The teacher's hidden states as targets, read batch by batch: a state for every token fits no cache.

Every block of the student is matched to a layer of the teacher at the same share of its depth, and its states
to that layer's by mean squared error through one learned projection (TinyBERT, Jiao et al. 2020, with its
uniform layer map; MobileBERT, Sun et al. 2020, calls the same thing feature map transfer).
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoModel


class HiddenTeacher:
    """A frozen sentence encoder, asked for its hidden states."""

    def __init__(self, encoder: Path, depth: int) -> None:
        """Load the encoder; `depth` is how many blocks the student has."""
        self._model = AutoModel.from_pretrained(encoder, attn_implementation="eager").eval()
        self._layers = matched_layers(depth, self._model.config.num_hidden_layers)

    def __call__(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> list[torch.Tensor]:
        """The matched layer's states for each block of the student, float32 (rows, length, 384)."""
        with torch.inference_mode():
            states = self._model(
                input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=True
            ).hidden_states
        return [states[layer].float().clone() for layer in self._layers]


def matched_layers(depth: int, teacher_depth: int) -> list[int]:
    """The teacher's layer (from 1; 0 is its embeddings) for each of the student's blocks."""
    return [-(-block * teacher_depth // depth) for block in range(1, depth + 1)]


def hidden_loss(
    student: Sequence[torch.Tensor], teacher: Sequence[torch.Tensor], attention_mask: torch.Tensor
) -> torch.Tensor:
    """Mean squared error of projected states, over real tokens and matched layers; a scalar."""
    real = attention_mask.bool()
    losses = [
        torch.nn.functional.mse_loss(mine[real].float(), wanted[real])
        for mine, wanted in zip(student, teacher, strict=True)
    ]
    return torch.stack(losses).mean()
