"""What a router is tested on: a suite file, in the format of a recipe, to measured rows and slices."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pointsman.artifact.manifest import Chat
from pointsman.datasets.duplicates import near_duplicate_key
from pointsman.datasets.outcomes import Dataset, read_dataset
from pointsman.datasets.rows import COLUMNS, SINGLE, Columns
from pointsman.errors import DataError
from pointsman.evaluation.quality import Slice
from pointsman.labels import CLOUD, LOCAL
from pointsman.train.data import ReadReport, columns_of, files_of, read_measured, read_rule
from pointsman.train.experts import balanced_weights
from pointsman.train.recipe import Recipe
from pointsman.train.recipe_loader import load_recipe
from pointsman.train.split import held_out

GUIDE = "guide"
_RULES = "rules"


def validation_dataset(recipe_path: Path, data: Path, columns: Columns = COLUMNS) -> Dataset:
    """What a recipe holds out: measured rows, one for each model pair, and texts with a rule's target.

    Both, because a router meets both: probabilities that are honest on one need not be on the other. Each
    kind counts by the root of its size, for measured rows are many more.

    Raises:
        DataError: a file is missing, or nothing is held out.
    """
    recipe = load_recipe(recipe_path)
    columns = columns_of(recipe, columns)
    kept = []
    for outcomes in recipe.outcomes:
        found = read_dataset(files_of(outcomes.files, data), columns)
        kept.append(found.subset(np.array([held_out(q, outcomes.validation_share) for q in found.queries])))
    if not any(part.queries for part in kept):
        raise DataError(f"{recipe_path} holds out no measured rows: set validation_share.")
    kept.append(_held_out_rules(recipe, data, columns))
    group = np.concatenate([part.group for part in kept])
    kind = np.where(group == _RULES, _RULES, "measured")
    return Dataset(
        tuple(q for part in kept for q in part.queries),
        group,
        np.concatenate([part.weak for part in kept]),
        np.concatenate([part.strong for part in kept]),
        tuple(bad for part in kept for bad in part.bad),
        balanced_weights(kind, np.ones(len(kind), dtype=bool)),
    )


def _held_out_rules(recipe: Recipe, data: Path, columns: Columns) -> Dataset:
    """The texts held out whose target is their rule; the weak model fails what belongs to the cloud."""
    found = [e for rule in recipe.rules for e in read_rule(rule, data, recipe, ReadReport(), columns)]
    ruled = [
        (e.query, float(e.p_cloud < 0.5))
        for e in found
        if e.p_cloud is not None and not e.opinion and held_out(e.query, recipe.everyday_validation_share)
    ]
    return Dataset(
        tuple(query for query, _ in ruled),
        np.full(len(ruled), _RULES, dtype=object).astype(np.str_),
        np.array([weak for _, weak in ruled], np.float64),
        np.ones(len(ruled)),
    )


def suite_dataset(suite: Recipe, data: Path) -> Dataset | None:
    """The measured rows of a suite; None where it has none."""
    paths = [path for outcomes in suite.outcomes for path in files_of(outcomes.files, data)]
    return read_dataset(paths, COLUMNS) if paths else None


def suite_subjects(suite: Recipe, data: Path) -> dict[str, str]:
    """The subject of each measured query of a suite, which a table by subject is told."""
    paths = [path for outcomes in suite.outcomes for path in files_of(outcomes.files, data)]
    return {row.query: row.subject for row in read_measured(paths, ReadReport())} if paths else {}


def suite_slices(suite: Recipe, data: Path, chat: Chat = SINGLE) -> list[Slice]:
    """The ruled slices of a suite, by source and target; chats are read as the router reads them.

    Raises:
        DataError: a file is missing.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for rule in suite.rules:
        for example in read_rule(rule, data, suite, ReadReport(), columns_of(suite, chat=chat)):
            if example.p_cloud is not None:
                label = CLOUD if example.p_cloud >= 0.5 else LOCAL
                found.setdefault((example.source, label), []).append(example.query)
    return [Slice(name, label, tuple(queries)) for (name, label), queries in found.items()]


def without_known(slices: Sequence[Slice], known: set[str]) -> tuple[list[Slice], int]:
    """Slices without the near duplicates of known texts (their loose keys), and how many those were.

    The guide's examples stay: they are asked for by their exact words.
    """
    kept, dropped = [], 0
    for part in slices:
        queries = part.queries
        if part.name != GUIDE:
            queries = tuple(q for q in queries if near_duplicate_key(q) not in known)
        dropped += len(part.queries) - len(queries)
        if queries:
            kept.append(Slice(part.name, part.label, queries))
    return kept, dropped
