"""What a base makes of texts, as far as its answer is linear in it, and how to change that."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from transformers import AutoTokenizer

from pointsman.checkpoint.torch_word_experts import word_experts_of
from pointsman.checkpoint.word_experts import UNIT, WordExperts
from pointsman.datasets.duplicates import SKETCH, row_sketch
from pointsman.fit.rows import Floats
from pointsman.train.batches import encode, epoch_order, pad_batch
from pointsman.train.state import write_json
from pointsman.train.student import load_student
from pointsman.train.word_experts import Words

_MAX_TOKENS = 128
_BATCH_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class Read:
    """What a base makes of texts.

    Attributes:
        odds: its log-odds of cloud, float64 (texts,).
        words: tokens over the root of their number in the text, sparse float64 (texts, vocabulary).
    """

    odds: Floats
    words: csr_matrix

    def at(self, rows: NDArray[np.int64]) -> "Read":
        """Some of the texts."""
        return Read(self.odds[rows], self.words[rows])


@dataclass(frozen=True, slots=True)
class Change:
    """Another margin: `odds` times the base's, and what is added to it.

    Attributes:
        odds: factor of the base's own margin.
        words: weights of the tokens, float64 (vocabulary,).
        bias: added to every margin.
    """

    odds: float
    words: Floats
    bias: float

    def times(self, scale: float) -> "Change":
        """The same ranking, on another scale."""
        return Change(self.odds * scale, self.words * scale, self.bias * scale)

    def margins(self, read: Read) -> Floats:
        """The margins of texts, float64 (texts,)."""
        found: Floats = self.odds * read.odds + read.words @ self.words + self.bias
        return found


class Base:
    """A checkpoint to start from."""

    def __init__(self, directory: Path) -> None:
        """Load it; raises CheckpointError where that cannot be done."""
        self.directory = directory
        self._model = load_student(str(directory)).eval()
        self._tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
        silent = np.zeros(1, np.float32)
        self._experts = word_experts_of(self._model) or WordExperts(
            np.zeros((self._model.config.vocab_size, 2), np.int16), silent, silent, np.zeros(1, np.int64)
        )
        layers = [m for m in self._model.modules() if isinstance(m, torch.nn.Linear) and m.out_features == 2]
        self._last = layers[-1]

    def read(self, texts: Sequence[str]) -> Read:
        """What it makes of texts, its first 128 tokens each."""
        ids, odds = encode(self._tokenizer, texts, _MAX_TOKENS), np.empty(len(texts))
        with torch.inference_mode():
            for rows in epoch_order([len(i) for i in ids], _BATCH_TOKENS, 0):
                batch = pad_batch(rows, ids)
                logits = self._model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
                odds[rows] = (logits[:, 1] - logits[:, 0]).numpy()
        return Read(odds, Words(ids, self._model.config.vocab_size).features())

    @property
    def meanings(self) -> Floats:
        """Its own vector of every token, float64 (vocabulary, width)."""
        table: Floats = self._model.get_input_embeddings().weight.detach().numpy().astype(np.float64)
        return table

    def largest(self, change: Change) -> float:
        """The largest weight of a token in the changed experts; no change moves their gate."""
        return float(np.abs(_opinions(self._experts, change)).max())

    def changed(self, change: Change, directory: Path, queries: Sequence[str]) -> Path:
        """Write a checkpoint that answers with another margin: a scaled last layer, and word experts.

        Args:
            change: the margin.
            directory: where to.
            queries: that taught it, for the record.

        Raises:
            CheckpointError: a token weighs 32 or more.
        """
        before = self._experts
        table = np.hstack([before.table[:, : before.topics] * UNIT, _opinions(before, change)])
        level = change.odds * before.level.astype(np.float64) + change.bias
        experts = WordExperts.rounded(table, before.gate_bias, level, before.expert)
        with torch.no_grad():
            for parameter in self._last.parameters():
                parameter.mul_(change.odds)
        self._model.save_pretrained(directory)
        self._tokenizer.save_pretrained(directory)
        experts.write(directory)
        write_json(directory / "training.json", {"fit": True, SKETCH: row_sketch(queries)})
        return directory


def _opinions(experts: WordExperts, change: Change) -> Floats:
    """The columns of the changed experts: each gets the words' weights, for their shares sum to one."""
    columns: Floats = change.odds * UNIT * experts.table[:, experts.topics :] + change.words[:, None]
    return columns
