"""What is trained: the student with the parts that only training needs, and the targets of each example."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pointsman.checkpoint.torch_word_experts import margin_of
from pointsman.train.batches import epoch_order, pad_batch
from pointsman.train.precision import tiny_as_zero

_PROJECTION_BATCH_TOKENS = 2048


@dataclass(frozen=True, slots=True)
class Targets:
    """What a batch is trained to, by example.

    Attributes:
        vectors: the teacher's sentence vectors, float16 (examples, 384); zeros where it was not asked, None
            trains on labels alone.
        p_cloud: mixed label, float32 (examples,); NaN where there is none.
        weights: of each label in the loss, float32 (examples,); None weighs all alike.
        subjects: class of each example's subject, int64 (examples,); -1 has none, None learns none.
    """

    vectors: NDArray[np.float16] | None
    p_cloud: NDArray[np.float32]
    weights: NDArray[np.float32] | None = None
    subjects: NDArray[np.int64] | None = None

    @property
    def subject_count(self) -> int:
        """How many classes the subjects have."""
        return 0 if self.subjects is None else int(self.subjects.max(initial=-1)) + 1


class Answer(NamedTuple):
    """A batch's margins of cloud over local (rows,), projected vectors (rows, 384) and logits of subjects."""

    margin: torch.Tensor
    vector: torch.Tensor
    subjects: torch.Tensor


class Trainee(nn.Module):  # type: ignore[misc]
    """The student, and what only training needs: a projection to the teacher's space, a head of subjects."""

    def __init__(self, student: Any, vector_size: int, subjects: int = 0) -> None:
        """Put both beside the student."""
        super().__init__()
        self.student = student
        self.projection = nn.Linear(student.config.hidden_size, vector_size)
        self.subjects = nn.Linear(student.config.hidden_size, subjects) if subjects else None

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Answer:
        """What the student says, for the loss."""
        pooled = self.student.mobilebert(input_ids, attention_mask=attention_mask).pooler_output
        logits = self.student.classifier(self.student.dropout(pooled))
        subjects = pooled[:, :0] if self.subjects is None else self.subjects(pooled)
        margin = margin_of(self.student, logits, input_ids, attention_mask)
        return Answer(margin, self.projection(pooled), subjects)


def fit_projection(trainee: Trainee, ids: list[list[int]], vectors: NDArray[np.float16]) -> None:
    """Start the projection of a trained student where it fits the teacher's vectors best, by least squares.

    A random one would first undo what the student knows.

    Args:
        trainee: its student is read as it is.
        vectors: the teacher's, of the same texts, float16 (texts, 384).
    """
    pooled = torch.ones(len(ids), trainee.projection.in_features + 1)
    with torch.no_grad(), tiny_as_zero():
        for rows in epoch_order([len(i) for i in ids], _PROJECTION_BATCH_TOKENS, 0):
            batch = pad_batch(rows, ids)
            read = trainee.student.mobilebert(batch.input_ids, attention_mask=batch.attention_mask)
            pooled[rows, 1:] = read.pooler_output
        found = torch.linalg.lstsq(pooled, torch.from_numpy(vectors.astype(np.float32))).solution
        trainee.projection.bias.copy_(found[0])
        trainee.projection.weight.copy_(found[1:].T)
