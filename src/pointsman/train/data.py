"""Data files to training examples; every bad row is reported with its file and line."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pointsman.artifact.manifest import Chat
from pointsman.datasets.duplicates import hash_fraction, near_duplicate_key
from pointsman.datasets.outcomes import read_outcomes
from pointsman.datasets.reading import read_rows
from pointsman.datasets.rows import COLUMNS, Columns
from pointsman.errors import DataError
from pointsman.labels import CLOUD
from pointsman.train.recipe import Recipe, Rule

PART = "part"
"""The salt of `Rule.part`."""


@dataclass(frozen=True, slots=True)
class Example:
    """One text to learn from.

    Attributes:
        p_cloud: what is known of its target: a probability of cloud, 0..1, or a gain, -1..1; None: nothing.
        source: where it comes from; the family of a measured one.
        is_measured: the label is a measured outcome, not a rule.
        opinion: share of a ruled text's target that is the experts' opinion, 0..1.
        subject: of a measured one, for example the exam's; empty for any other.
    """

    query: str
    p_cloud: float | None
    source: str
    is_measured: bool
    opinion: float = 0.0
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Measured:
    """One row of outcomes: how two models answered a query.

    Attributes:
        source: its family: what the recipe calls it, or its file's name.
        subject: the row's own `source`, for example the exam's subject; its file's name where it has none.
        pair: names of the weak and the strong model; empty where the row does not say.
    """

    query: str
    source: str
    subject: str
    pair: tuple[str, str]
    weak: float
    strong: float

    @property
    def gain(self) -> float:
        """How much better the strong answer is."""
        return self.strong - self.weak

    @property
    def is_cloud(self) -> float:
        """1 where the strong answer is better, else 0."""
        return float(self.strong > self.weak)


@dataclass(slots=True)
class ReadReport:
    """What reading saw: rows by file, and the bad ones."""

    rows: dict[str, int] = field(default_factory=dict)
    bad: list[str] = field(default_factory=list)
    leaked: int = 0


def read_measured(
    paths: Sequence[Path], report: ReadReport, columns: Columns = COLUMNS, family: str = ""
) -> list[Measured]:
    """Measured outcomes, row by row; a row with a label stands for a strong model that fails nothing.

    Raises:
        DataError: a file cannot be read, no usable row, or every row has the same outcome.
    """
    rows = []
    for outcome in read_outcomes(paths, columns, report.bad):
        row, values = outcome.row, outcome.row.values
        report.rows[row.file] = report.rows.get(row.file, 0) + 1
        stem = Path(row.file).stem
        pair = (str(values.get("weak_model", "")), str(values.get("strong_model", "")))
        subject = str(values.get("source") or stem)
        rows.append(Measured(row.query, family or stem, subject, pair, outcome.weak, outcome.strong))
    if len({round(e.p_cloud or 0.0) for e in merged(rows, [row.is_cloud for row in rows])}) < 2:
        raise DataError(f"{[p.name for p in paths]}: every row has the same label; a router needs both.")
    return rows


def merged(rows: Sequence[Measured], targets: Sequence[float]) -> list[Example]:
    """One example a distinct query: the mean of its rows' targets over the model pairs that answered it."""
    seen: dict[str, tuple[Measured, list[float]]] = {}
    for row, target in zip(rows, targets, strict=True):
        seen.setdefault(row.query, (row, []))[1].append(float(target))
    return [
        Example(query, sum(t) / len(t), row.source, True, subject=row.subject)
        for query, (row, t) in seen.items()
    ]


def read_examples(paths: Sequence[Path], report: ReadReport, columns: Columns = COLUMNS) -> list[Example]:
    """Measured outcomes, one example a distinct query: the share of its pairs whose strong answer was better.

    Raises:
        DataError: no usable row, or only one class.
    """
    rows = read_measured(paths, report, columns)
    return merged(rows, [row.is_cloud for row in rows])


def columns_of(recipe: Recipe, columns: Columns = COLUMNS, chat: Chat | None = None) -> Columns:
    """The columns, with chats read as `chat`, or else the recipe's student, reads them."""
    return replace(columns, chat=chat or recipe.student.chat)


def read_rule(
    rule: Rule, directory: Path, recipe: Recipe, report: ReadReport, columns: Columns
) -> list[Example]:
    """Texts of one rule, drawn with the recipe's seed."""
    examples = []
    columns = replace(COLUMNS, chat=columns.chat) if rule.own else columns
    for path in files_of(rule.files, recipe.directory if rule.own else directory):
        for row in read_rows(path, columns, report.bad):
            source = str(row.values.get("source", path.stem))
            label = rule.label or (row.values.get("label", "") if rule.own else "")
            opinion = rule.opinion if label or not rule.opinion else 1.0
            kept = (
                (not rule.sources or source in rule.sources)
                and source not in rule.hold_out
                and (not rule.kinds or row.values.get("kind") in rule.kinds)
                and rule.part[0] <= hash_fraction(near_duplicate_key(row.query), PART) < rule.part[1]
                and len(row.query) >= rule.min_chars
                and (not rule.max_chars or len(row.query) <= rule.max_chars)
            )
            if not kept:
                continue
            p_cloud = None
            if label:
                p_cloud = recipe.loss.certainty if label == CLOUD else 1.0 - recipe.loss.certainty
            report.rows[path.name] = report.rows.get(path.name, 0) + 1
            examples.append(Example(row.query, p_cloud, source, False, opinion))
    if rule.rows and len(examples) > rule.rows:
        examples = random.Random(recipe.seed).sample(examples, rule.rows)
    return examples


def files_of(pattern: str, directory: Path) -> list[Path]:
    """Files under a directory by a glob.

    Raises:
        DataError: none is there.
    """
    paths = sorted(directory.glob(pattern))
    if not paths:
        raise DataError(
            f"no file matches {pattern!r} under {directory}. Give the data directory with --data."
        )
    return paths
