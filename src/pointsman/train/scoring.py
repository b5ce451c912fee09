"""A raw checkpoint as a scorer, so that it can be judged before, and beside, its export."""

import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from pointsman.artifact.manifest import Calibration, Chat
from pointsman.errors import CheckpointError
from pointsman.labels import LabelSet
from pointsman.runtime.probability import cloud_probability
from pointsman.train.batches import encode, epoch_order, pad_batch

CALIBRATION = "calibration.json"
_BATCH_TOKENS = 2048


class CheckpointScorer:
    """A Hugging Face checkpoint directory with torch, in float32."""

    def __init__(self, directory: Path, max_tokens: int = 128) -> None:
        """Load the checkpoint, and its calibration where it has one.

        Raises:
            CheckpointError: it cannot be read.
            SettingsError: its labels are not `local` and `cloud`.
        """
        try:
            self._model: Any = AutoModelForSequenceClassification.from_pretrained(
                directory, use_safetensors=True, trust_remote_code=False, local_files_only=True
            )
            self._tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
        except (OSError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"{directory}: {str(error).strip().splitlines()[0]}") from None
        self._model = self._model.float().eval()
        ids = {str(key): str(name) for key, name in self._model.config.id2label.items()}
        self.labels = LabelSet.from_id2label(ids)
        config = self._model.config
        self.chat = Chat(getattr(config, "earlier_turns", 0), getattr(config, "last_turn_first", False))
        self.calibration = read_calibration(directory)
        self.max_tokens = max_tokens

    def logits(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The model's bare word, float32 (texts, 2), in the order of `labels`."""
        made = np.empty((len(texts), 2), np.float32)
        ids = encode(self._tokenizer, list(texts), self.max_tokens)
        with torch.inference_mode():
            for rows in epoch_order([len(i) for i in ids], _BATCH_TOKENS, 0):
                batch = pad_batch(rows, ids)
                made[rows] = self._model(batch.input_ids, attention_mask=batch.attention_mask).logits.numpy()
        return made

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """p_cloud, float64 (texts,)."""
        return cloud_probability(self.logits(texts), self.labels.cloud_index, self.calibration)


def read_calibration(directory: Path) -> Calibration | None:
    """The calibration that a checkpoint carries in `calibration.json`; None where there is none.

    Raises:
        CheckpointError: it is there and not understood.
    """
    path = directory / CALIBRATION
    if not path.is_file():
        return None
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return Calibration(**{field.name: data[field.name] for field in fields(Calibration)})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{path} is not understood: {error}.") from None
