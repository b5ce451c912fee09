"""A MobileBERT that learns: the stack's opinion on many texts, or the labels themselves."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer

from pointsman.datasets.duplicates import hash_fraction
from pointsman.fit.rows import Floats
from pointsman.progress import Progress
from pointsman.train.data import Example
from pointsman.train.distill import save_checkpoint
from pointsman.train.finetune import LabelTrainee
from pointsman.train.loop import Loop, Outcome, Targets
from pointsman.train.recipe import Loss, Recipe, Schedule
from pointsman.train.recipe import Student as StudentSettings
from pointsman.train.student import load_student

HEAD, LAST, ALL = "head", "last blocks", "all"
_LAST_BLOCKS = 2
_HELD_OUT = 0.1
_FEWEST_STEPS = 600
_SPREAD = 1.5
"""Standard deviation of the margins that a student learns from a teacher, in log-odds."""

DISTIL = Schedule(
    epochs=6.0,
    batch_tokens=2048,
    learning_rate=5e-4,
    warmup_share=0.1,
    average=0.95,
    evaluations=6,
    patience=6,
)
TUNE = Schedule(
    epochs=4.0,
    batch_tokens=1024,
    learning_rate=1e-4,
    warmup_share=0.1,
    average=0.9,
    evaluations=4,
    patience=4,
)


@dataclass(frozen=True, slots=True)
class Trained:
    """A student after its training, with the loop that can ask it."""

    loop: Loop
    outcome: Outcome

    def margins(self, queries: Sequence[str]) -> Floats:
        """Logit of cloud less that of local, float64 (queries,)."""
        examples = [Example(query, 0.5, "", True) for query in queries]
        return self.loop.predict(examples, _targets(examples))[0]

    def save(self, directory: Path, base: Path, record: dict[str, Any]) -> Path:
        """Write a checkpoint directory that `export` takes."""
        student = self.loop.trainee.student
        return save_checkpoint(directory, student, base, self.outcome, record)


@dataclass(frozen=True, slots=True)
class Training:
    """How a student is trained.

    Attributes:
        base: checkpoint directory to start from.
        schedule: how long, how fast.
        part: what is trained: `head`, `last blocks` or `all`.
        seed: of every draw.
    """

    base: Path
    schedule: Schedule
    part: str = ALL
    seed: int = 0

    def recipe(self, queries: Sequence[str], directory: Path) -> Recipe:
        """The recipe for these texts; a distillation of few texts takes more passes."""
        schedule = self.schedule
        if schedule is DISTIL:
            # Few texts: smaller steps first, more passes only where those are not enough.
            tokens = max(1.0, sum(len(query) / 4 + 2 for query in queries))
            size = min(schedule.batch_tokens, max(256, int(tokens * schedule.epochs / _FEWEST_STEPS)))
            epochs = max(schedule.epochs, _FEWEST_STEPS * size / tokens)
            schedule = replace(schedule, epochs=epochs, batch_tokens=size)
        return Recipe(
            name=directory.name,
            seed=self.seed,
            student=StudentSettings(),
            schedule=schedule,
            loss=Loss(embedding=0.0, label=1.0, teacher_share=0.0, edit_share=0.1),
            outcomes=(),
            rules=(),
            directory=directory,
        )


def learn(
    how: Training, queries: Sequence[str], wanted: Floats, directory: Path, progress: Progress
) -> Trained:
    """Train a student.

    Args:
        how: from where, how long, which part of it.
        queries: texts to learn from; a tenth of them is held out to see when to stop.
        wanted: probability of cloud to learn for each, 0..1, float64 (queries,).
        directory: of the run's state.
        progress: is told what happens.
    """
    torch.manual_seed(how.seed)
    examples = [Example(q, float(p), "", True) for q, p in zip(queries, wanted, strict=True)]
    held = [hash_fraction(e.query, f"held{how.seed}") < _HELD_OUT for e in examples]
    validation = [e for e, out in zip(examples, held, strict=True) if out] or examples[:1]
    train = [e for e, out in zip(examples, held, strict=True) if not out] or examples
    student = load_student(str(how.base))
    _freeze(student, how.part)
    loop = Loop(
        how.recipe([e.query for e in train], directory),
        LabelTrainee(student),
        AutoTokenizer.from_pretrained(how.base, local_files_only=True),
        (train, _targets(train)),
        (validation, _targets(validation)),
        directory,
        progress,
    )
    return Trained(loop, loop.run())


def teacher_targets(gain: Floats, labelled: int) -> Floats:
    """Predicted gains as probabilities to learn, 0..1: their order with a spread that a student can learn.

    Args:
        gain: prediction for every text, the labelled ones first, float64 (texts,).
        labelled: how many are labelled; those set the scale.
    """
    known = gain[:labelled]
    margin = _SPREAD * (gain - known.mean()) / max(float(known.std()), 1e-9)
    target: Floats = 1.0 / (1.0 + np.exp(-np.clip(margin, -6.0, 6.0)))
    return target


def crops(texts: Sequence[str], copies: int, seed: int) -> list[str]:
    """Parts of texts, from half of their words up: more for a student to hear its teacher on."""
    rng = random.Random(seed)
    made = []
    for text in texts:
        words = text.split()
        for _ in range(copies if len(words) > 3 else 0):
            size = rng.randint(len(words) // 2, len(words))
            start = rng.randint(0, len(words) - size)
            made.append(" ".join(words[start : start + size]))
    return list(dict.fromkeys(made))


def _freeze(student: Any, part: str) -> None:
    """Leave only a part of the student to be trained."""
    if part == ALL:
        return
    for parameter in student.parameters():
        parameter.requires_grad_(False)
    free = [student.classifier, student.base_model.pooler]
    if part == LAST:
        free += list(student.base_model.encoder.layer[-_LAST_BLOCKS:])
    for module in free:
        for parameter in module.parameters():
            parameter.requires_grad_(True)


def _targets(examples: Sequence[Example]) -> Targets:
    return Targets(None, np.array([e.p_cloud for e in examples], np.float32))
