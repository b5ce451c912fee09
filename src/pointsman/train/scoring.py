"""What scores texts: an artifact as it is served, or a raw checkpoint, judged before its export."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from pointsman.artifact.address import open_artifact
from pointsman.artifact.layout import MANIFEST
from pointsman.artifact.manifest import Chat
from pointsman.checkpoint.calibration import read_calibration
from pointsman.checkpoint.torch_word_experts import attach_word_experts
from pointsman.errors import CheckpointError, SettingsError
from pointsman.evaluation.quality import Floats, Scorer, router_scores
from pointsman.labels import LabelSet
from pointsman.policy import Policy
from pointsman.runtime.probability import cloud_probability
from pointsman.runtime.router import Router, effective_policy
from pointsman.settings import Settings
from pointsman.train.batches import encode, epoch_order, pad_batch

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
        attach_word_experts(self._model, directory, self.labels.cloud_index)
        config = self._model.config
        self.chat = Chat(getattr(config, "earlier_turns", 0), getattr(config, "last_turn_first", False))
        self.calibration = read_calibration(directory)[0]
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


def open_scorer(
    path: Path, variant: str | None, settings: Settings | None = None
) -> tuple[Scorer, Policy, Chat]:
    """A scorer, the policy that is served, and how a chat is read, of an artifact or else of a checkpoint.

    An artifact's scores are `served_scores`, a checkpoint's are p_cloud. `settings` overrule the policy.

    Raises:
        SettingsError: a variant of something that is no artifact.
        PointsmanError: it cannot be opened.
    """
    if is_checkpoint(path):
        if variant is not None:
            raise SettingsError(f"--variant {variant}: {path} is a checkpoint, which has no variants.")
        checkpoint = CheckpointScorer(path)
        return _once(checkpoint), effective_policy(Policy(), settings or Settings()), checkpoint.chat
    router = Router.open(open_artifact(path), variant=variant, settings=settings or Settings())
    return _once(lambda texts: router_scores(router, texts)), router.policy, router.manifest.chat


def is_checkpoint(path: Path) -> bool:
    """Whether a directory is a checkpoint rather than an artifact."""
    return (path / "config.json").is_file() and not (path / MANIFEST).is_file()


def _once(scorer: Scorer) -> Scorer:
    """The scorer, asked once for each distinct text."""

    def score(texts: Sequence[str]) -> Floats:
        unique = list(dict.fromkeys(texts))
        place = {text: index for index, text in enumerate(unique)}
        return scorer(unique)[[place[text] for text in texts]]

    return score
