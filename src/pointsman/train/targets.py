"""What each text is trained to: its label or outcome, mixed with what the teachers say of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pointsman.progress import Progress
from pointsman.train.data import Example
from pointsman.train.experts import balanced_weights, expert_opinions
from pointsman.train.recipe import Recipe
from pointsman.train.teacher import EMBEDDING_SIZE, Reading, embed, opinions, soft_labels
from pointsman.train.trainee import Targets


@dataclass(frozen=True, slots=True)
class Source:
    """Where targets come from.

    Attributes:
        encoders: directories of sentence encoders; the first is the one that the student may imitate.
        classifier: a classifier's directory whose opinions are the soft labels, or None.
        cache: directory of their answers.
    """

    recipe: Recipe
    encoders: tuple[Path, ...]
    classifier: Path | None
    cache: Path

    def reading(self, progress: Progress) -> Reading:
        """How the teachers read: as much of a text as the student."""
        return Reading(self.cache, self.recipe.student.max_tokens, progress)


def held_out_targets(examples: Sequence[Example], source: Source, progress: Progress) -> Targets:
    """Each text's own target, in which no teacher has a share."""
    return Targets(_vectors(examples, source, progress), _known(examples))


def _known(examples: Sequence[Example]) -> NDArray[np.float32]:
    """The examples' own targets, float32 (examples,); NaN where there is none."""
    return np.array([np.nan if e.p_cloud is None else e.p_cloud for e in examples], np.float32)


def _vectors(examples: Sequence[Example], source: Source, progress: Progress) -> NDArray[np.float16] | None:
    """The first encoder's vectors, where the loss asks for them; beside experts, zeros for sure rules."""
    if source.recipe.loss.embedding <= 0.0:
        return None
    some = source.recipe.target.experts
    asked = [i for i, e in enumerate(examples) if not some or _is_open(e) or e.p_cloud is None]
    vectors = np.zeros((len(examples), EMBEDDING_SIZE), np.float16)
    vectors[asked] = _embedded([examples[i] for i in asked], source, source.encoders[0], progress)
    return vectors


def _is_open(example: Example) -> bool:
    """Whether the experts are asked: the row is measured, or its rule leaves them a share."""
    return example.is_measured or example.opinion > 0.0


def _embedded(
    examples: Sequence[Example], source: Source, encoder: Path, progress: Progress
) -> NDArray[np.float16]:
    return embed([e.query for e in examples], encoder, source.reading(progress))


def training_targets(examples: Sequence[Example], source: Source, progress: Progress) -> Targets:
    """Each text's own target, mixed with the teacher's opinion in the share that the recipe gives it."""
    recipe, known = source.recipe, _known(examples)
    teacher = recipe.loss.teacher_share
    share = np.array([teacher if e.is_measured else e.opinion for e in examples], np.float32)
    soft = _opinions(examples, source, progress)
    mixed = np.where(share < 1.0, (1.0 - share) * np.nan_to_num(known) + share * soft, soft)
    mixed[np.isnan(known) & (share < 1.0)] = np.nan
    sure = recipe.loss.certainty
    weights = None
    if recipe.target.balance or recipe.loss.measured != 1.0:
        measured = np.array([e.is_measured for e in examples])
        family = np.array([e.source for e in examples])
        balanced = balanced_weights(family, measured) if recipe.target.balance else 1.0
        weights = np.where(measured, recipe.loss.measured * balanced, 1.0).astype(np.float32)
    soft_targets = np.clip(mixed, 1.0 - sure, sure).astype(np.float32)
    subjects = _subjects(examples) if recipe.loss.subject else None
    return Targets(_vectors(examples, source, progress), soft_targets, weights, subjects)


def _subjects(examples: Sequence[Example]) -> NDArray[np.int64]:
    """The class of each measured example's subject, int64 (examples,); -1 of any other."""
    names = sorted({e.subject for e in examples if e.is_measured})
    place = {name: index for index, name in enumerate(names)}
    return np.array([place[e.subject] if e.is_measured else -1 for e in examples], np.int64)


def _opinions(examples: Sequence[Example], source: Source, progress: Progress) -> NDArray[np.float32]:
    """The teacher's soft opinion of every text, float32 (examples,); .5 where it is not asked."""
    recipe, classifier = source.recipe, source.classifier
    if not recipe.target.experts:
        if classifier is not None:
            return _classified(examples, classifier, source, progress)
        vectors = _embedded(examples, source, source.encoders[0], progress)
        return soft_labels(examples, vectors, recipe.seed)
    asked_rows = [i for i, e in enumerate(examples) if _is_open(e)]
    judged = [examples[i] for i in asked_rows]
    read = [_embedded(judged, source, encoder, progress) for encoder in source.encoders]
    soft = np.full(len(examples), 0.5, np.float32)
    soft[asked_rows] = expert_opinions(judged, read, recipe.seed)
    if classifier is not None:
        _share(soft, _classified(examples, classifier, source, progress), examples)
    return soft


def _classified(
    examples: Sequence[Example], classifier: Path, source: Source, progress: Progress
) -> NDArray[np.float32]:
    """The classifier's opinion of every measured text, float32 (examples,); .5 of any other."""
    asked = list(dict.fromkeys(e.query for e in examples if e.is_measured))
    said = opinions(asked, classifier, source.reading(progress))
    opinion = dict(zip(asked, said, strict=True))
    return np.array([opinion.get(e.query, 0.5) for e in examples], np.float32)


def _share(soft: NDArray[np.float32], classified: NDArray[np.float32], examples: Sequence[Example]) -> None:
    """Make measured opinions the mean of both teachers, at the level that the experts give each family."""
    family = np.array([e.source if e.is_measured else "" for e in examples])
    for name in set(family) - {""}:
        own = family == name
        soft[own] = (soft[own] + classified[own] - classified[own].mean() + soft[own].mean()) / 2.0
