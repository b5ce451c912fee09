"""A recipe's examples, split into training and validation, with the targets that each part has."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pointsman.datasets.duplicates import hash_fraction, near_duplicate_key
from pointsman.datasets.rows import COLUMNS, Columns
from pointsman.errors import DataError
from pointsman.train.conversation import Draw, follow_ups, read_phrases
from pointsman.train.data import (
    Example,
    Measured,
    ReadReport,
    columns_of,
    files_of,
    merged,
    read_measured,
    read_rule,
)
from pointsman.train.gain import denoised, read_scores, shrunk
from pointsman.train.recipe import Outcomes, Recipe

VALIDATION = "validation"
"""The salt of the split."""


@dataclass(frozen=True, slots=True)
class Split:
    """Training and validation examples, and what was seen while reading."""

    train: list[Example]
    validation: list[Example]
    report: ReadReport


def held_out(query: str, share: float) -> bool:
    """Whether a query belongs to the validation part; near duplicates go together."""
    return hash_fraction(near_duplicate_key(query), VALIDATION) < share


def load_split(recipe: Recipe, directory: Path, columns: Columns = COLUMNS) -> Split:
    """Everything that a recipe names, split so that near duplicates stay on one side.

    Raises:
        DataError: a file is missing or unusable.
    """
    report, columns = ReadReport(), columns_of(recipe, columns)
    train: list[Example] = []
    validation: list[Example] = []
    for outcomes in recipe.outcomes:
        kept, out = _parts(outcomes, directory, columns, report)
        train += _learned_targets(kept, outcomes, recipe, directory) * outcomes.repeat
        validation += merged(out, [row.gain if recipe.target.gain else row.is_cloud for row in out])
    ruled: list[Example] = []
    for rule in recipe.rules:
        for example in read_rule(rule, directory, recipe, report, columns):
            if held_out(example.query, recipe.everyday_validation_share):
                validation.append(example)
            else:
                ruled += [example] * rule.repeat
    train += ruled
    keys = {near_duplicate_key(example.query) for example in validation}
    clean = [example for example in train if near_duplicate_key(example.query) not in keys]
    report.leaked = len(train) - len(clean)
    if not clean:
        raise DataError(f"recipe {recipe.name}: nothing to train on.")
    for part, share in ((clean, 1.0), (validation, recipe.everyday_validation_share)):
        part += _chats(part, recipe, share)
    return Split(clean, validation, report)


def training_rows(recipe: Recipe, directory: Path) -> list[Measured]:
    """The measured rows that a recipe trains on, as they were measured.

    Raises:
        DataError: a file is missing or unusable.
    """
    return [row for asked in recipe.outcomes for row in _fresh(asked, recipe, directory)[0]]


def held_out_rows(recipe: Recipe, directory: Path) -> list[Measured]:
    """The measured rows that a recipe holds out; raises as `training_rows` does."""
    return [row for asked in recipe.outcomes for row in _fresh(asked, recipe, directory)[1]]


def learned_examples(recipe: Recipe, directory: Path) -> list[Example]:
    """The measured training queries with what they are trained to; raises as `training_rows` does."""
    parts = [(asked, _fresh(asked, recipe, directory)[0]) for asked in recipe.outcomes]
    return [e for asked, kept in parts for e in _learned_targets(kept, asked, recipe, directory)]


def _fresh(asked: Outcomes, recipe: Recipe, directory: Path) -> tuple[list[Measured], list[Measured]]:
    return _parts(asked, directory, columns_of(recipe), ReadReport())


def _parts(
    asked: Outcomes, directory: Path, columns: Columns, report: ReadReport
) -> tuple[list[Measured], list[Measured]]:
    """The measured rows of one entry: those to train on, and those held out."""
    rows = read_measured(files_of(asked.files, directory), report, columns, asked.family)
    out = [held_out(row.query, asked.validation_share) for row in rows]
    kept = [row for row, is_out in zip(rows, out, strict=True) if not is_out]
    return kept, [row for row, is_out in zip(rows, out, strict=True) if is_out]


def _learned_targets(
    rows: Sequence[Measured], outcomes: Outcomes, recipe: Recipe, directory: Path
) -> list[Example]:
    """Training rows with the targets that the recipe's `[target]` asks for, one example a query."""
    target = recipe.target
    gains = np.array([row.gain if target.gain else row.is_cloud for row in rows], np.float64)
    if target.denoise and outcomes.scores:
        scores = read_scores(files_of(outcomes.scores, directory))
        gains = denoised(rows, gains, scores, target.denoise, recipe.seed)
    if target.shrink:
        gains = shrunk(rows, gains, target.shrink)
    return merged(rows, gains.tolist())


def _chats(examples: Sequence[Example], recipe: Recipe, share: float) -> list[Example]:
    """The follow-ups that a recipe asks for, made from the ruled examples of one part."""
    asked, chat = recipe.followups, recipe.student.chat
    count = round(asked.count * share)
    if not count:
        return []
    phrases = read_phrases(recipe.directory / asked.file)
    return follow_ups(examples, phrases, Draw(count, chat, 1.0 - recipe.loss.certainty, recipe.seed))
