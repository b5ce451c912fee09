"""The word experts in torch: a submodule without parameters that adds to what a classifier answers."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pointsman.checkpoint.word_experts import OPINION_LIMIT, UNIT, WordExperts, read_word_experts


class WordExpertsModule(nn.Module):  # type: ignore[misc]
    """The margin of `WordExperts`; its tensors are no parameters, and no part of a saved state."""

    def __init__(self, experts: WordExperts) -> None:
        """Take checked experts."""
        super().__init__()
        self.experts = experts
        table = experts.table.astype(np.float32) * np.float32(UNIT)
        self.register_buffer("table", torch.from_numpy(table), persistent=False)
        for name in ("gate_bias", "level", "expert"):
            self.register_buffer(name, torch.from_numpy(getattr(experts, name).copy()), persistent=False)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """What the margin grows by, (batch,), in the dtype of the table."""
        real = attention_mask != 0
        sums = (self.table[torch.where(real, input_ids, 0)] * real.unsqueeze(-1)).sum(1)
        root = real.sum(1, keepdim=True).clamp(min=1).to(sums.dtype).sqrt()
        gate, said = (sums / root).split([self.experts.topics, self.experts.count], dim=1)
        opinions = (said[:, self.expert] + self.level).clamp(-OPINION_LIMIT, OPINION_LIMIT)
        return (torch.softmax(gate + self.gate_bias, 1) * opinions).sum(1)


def attach_word_experts(model: Any, directory: Path, cloud_index: int) -> Any:
    """The same classifier, which answers with the word experts of its directory, where it has any.

    Args:
        model: a sequence classifier of transformers, asked with `attention_mask` by its name.
        cloud_index: which logit speaks for `cloud`.

    Raises:
        CheckpointError: the file of the experts is not understood, or is of another vocabulary.
    """
    experts = read_word_experts(directory, model.config.vocab_size)
    if experts is None:
        return model
    model.word_experts = WordExpertsModule(experts)
    halves = torch.full((2,), -0.5)
    halves[cloud_index] = 0.5

    def add(module: Any, arguments: Any, named: Any, answer: Any) -> Any:
        ids = named["input_ids"] if "input_ids" in named else arguments[0]
        margin = module.word_experts(ids, named["attention_mask"])
        answer.logits = answer.logits + margin[:, None] * halves.to(answer.logits.dtype)
        return answer

    model.register_forward_hook(add, with_kwargs=True)
    return model


def word_experts_of(model: Any) -> WordExperts | None:
    """The experts that were attached to a classifier; None where there are none."""
    attached = getattr(model, "word_experts", None)
    return None if attached is None else attached.experts


def margin_of(
    model: Any, logits: torch.Tensor, input_ids: torch.Tensor, attention_mask: torch.Tensor
) -> torch.Tensor:
    """Margin (batch,) of a network's own logits `local`, `cloud`, with that of its word experts, if any."""
    margin = logits[:, 1] - logits[:, 0]
    attached = getattr(model, "word_experts", None)
    return margin if attached is None else margin + attached(input_ids, attention_mask)
