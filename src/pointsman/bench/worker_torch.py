"""The worker that runs a checkpoint with PyTorch: eager or compiled. The side to be faster than.

`python -m pointsman.bench.worker_torch`, driven over standard input by the benchmark runner.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForSequenceClassification

from pointsman.bench.worker import Subject, serve
from pointsman.checkpoint.torch_word_experts import attach_word_experts


@dataclass(frozen=True, slots=True)
class TorchSubject(Subject):
    """A checkpoint in PyTorch, as a benchmark sees it."""

    model: Callable[..., Any]

    def run(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> object:
        """One batch to logits: int64 (batch, length), twice."""
        with torch.inference_mode():
            return self.model(
                input_ids=torch.from_numpy(input_ids), attention_mask=torch.from_numpy(attention_mask)
            ).logits.numpy()


def open_checkpoint(settings: Mapping[str, Any]) -> Subject:
    """Open `checkpoint` on `threads`, compiled where `compile` is true."""
    torch.set_num_threads(settings["threads"])
    # Float32 whatever the file holds: float16 is slow on a CPU, and no backend should win against that.
    model = AutoModelForSequenceClassification.from_pretrained(
        settings["checkpoint"], dtype=torch.float32
    ).eval()
    cloud = {str(name).lower(): int(index) for index, name in model.config.id2label.items()}.get("cloud", 1)
    attach_word_experts(model, Path(settings["checkpoint"]), cloud)
    if settings["compile"]:
        # Compiling in this process: a pool of compilers would share the cores that are measured.
        os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
        return TorchSubject(torch.compile(model, dynamic=True))
    return TorchSubject(model)


if __name__ == "__main__":
    serve(open_checkpoint)
