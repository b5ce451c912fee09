"""Data files to training examples; every bad row is reported with its file and line."""

import csv
import gzip
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pointsman.artifact.manifest import Chat
from pointsman.datasets.duplicates import hash_fraction, near_duplicate_key
from pointsman.errors import DataError
from pointsman.evaluation.dataset import outcome
from pointsman.labels import CLOUD
from pointsman.runtime.chat import text_of_messages
from pointsman.train.recipe import Recipe, Rule

SINGLE = Chat()
"""Only the last user message of a chat is read."""
PART = "part"
"""The salt of `Rule.part`."""
_SHOWN_BAD_ROWS = 20


@dataclass(frozen=True, slots=True)
class Example:
    """One text to learn from.

    Attributes:
        query: the text.
        p_cloud: what is known of its target: a probability of cloud, 0..1, or a gain, -1..1; None: nothing.
        source: where it comes from; the family of a measured one.
        is_measured: the label is a measured outcome, not a rule.
        opinion: share of a ruled text's target that is the experts' opinion, 0..1.
    """

    query: str
    p_cloud: float | None
    source: str
    is_measured: bool
    opinion: float = 0.0


@dataclass(frozen=True, slots=True)
class Measured:
    """One row of outcomes: how two models answered a query.

    Attributes:
        query: the text.
        source: its family: what the recipe calls it, or its file's name.
        subject: the row's own `source`, for example the exam's subject; its file's name where it has none.
        pair: names of the weak and the strong model; empty where the row does not say.
        weak: score of the weak model's answer.
        strong: of the strong one's.
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


def read_rows(path: Path, report: ReadReport, chat: Chat = SINGLE) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows of a JSONL, gzipped JSONL, CSV or Parquet file, with their line (or row) number from 1.

    A row with `messages` instead of `query` is read as the gateway would read that chat.

    Args:
        path: the file; its ending says what it is.
        report: takes note of lines that are no rows.
        chat: how many earlier user messages are read with the last one.

    Raises:
        DataError: the file cannot be read at all.
    """
    for number, row in _rows(path, report):
        messages = row.get("messages")
        if "query" not in row and isinstance(messages, list) and all(isinstance(m, dict) for m in messages):
            row = {**row, "query": text_of_messages(messages, chat)}
        yield number, row


def _rows(path: Path, report: ReadReport) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        if path.suffix == ".parquet":
            import pyarrow.parquet as parquet

            try:
                rows = parquet.read_table(path).to_pylist()
            except ValueError as error:  # pyarrow's ArrowInvalid
                raise DataError(f"{path} cannot be read: {error}.") from None
            yield from enumerate(rows, 1)
        elif path.suffix == ".csv":
            with path.open(encoding="utf-8", newline="") as stream:
                yield from enumerate(csv.DictReader(stream), 2)
        else:
            open_text = gzip.open if path.suffix == ".gz" else open
            with open_text(path, "rt", encoding="utf-8") as stream:
                yield from _json_lines(stream, path, report)
    except (OSError, UnicodeDecodeError, EOFError) as error:
        raise DataError(f"{path} cannot be read: {error}.") from None


def _json_lines(stream: Any, path: Path, report: ReadReport) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(stream, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            report.bad.append(f"{path.name}:{number}: not JSON")
            continue
        if isinstance(row, dict):
            yield number, row
        else:
            report.bad.append(f"{path.name}:{number}: expected an object, found {type(row).__name__}")


def read_measured(
    paths: Sequence[Path], report: ReadReport, chat: Chat = SINGLE, family: str = ""
) -> list[Measured]:
    """Measured outcomes, row by row; a row with a label stands for a strong model that fails nothing.

    Raises:
        DataError: no usable row, or every row has the same outcome.
    """
    rows = []
    for path in paths:
        for number, row in read_rows(path, report, chat):
            scores = outcome(row)
            if isinstance(scores, str):
                report.bad.append(f"{path.name}:{number}: {scores}")
                continue
            report.rows[path.name] = report.rows.get(path.name, 0) + 1
            pair = (str(row.get("weak_model", "")), str(row.get("strong_model", "")))
            subject = str(row.get("source") or path.stem)
            rows.append(Measured(row["query"].strip(), family or path.stem, subject, pair, *scores))
    if not rows:
        shown = "; ".join(report.bad[:_SHOWN_BAD_ROWS]) or "no files"
        raise DataError(f"no usable row in {[p.name for p in paths]}: {shown}.")
    if len({round(e.p_cloud or 0.0) for e in merged(rows, [row.is_cloud for row in rows])}) < 2:
        raise DataError(f"{[p.name for p in paths]}: every row has the same label; a router needs both.")
    return rows


def merged(rows: Sequence[Measured], targets: Sequence[float]) -> list[Example]:
    """One example a distinct query: the mean of its rows' targets over the model pairs that answered it."""
    seen: dict[str, tuple[str, list[float]]] = {}
    for row, target in zip(rows, targets, strict=True):
        seen.setdefault(row.query, (row.source, []))[1].append(float(target))
    return [Example(query, sum(t) / len(t), source, True) for query, (source, t) in seen.items()]


def read_outcomes(paths: Sequence[Path], report: ReadReport, chat: Chat = SINGLE) -> list[Example]:
    """Measured outcomes, one example a distinct query: the share of its pairs whose strong answer was better.

    Raises:
        DataError: no usable row, or only one class.
    """
    rows = read_measured(paths, report, chat)
    return merged(rows, [row.is_cloud for row in rows])


def read_rule(
    rule: Rule, directory: Path, recipe: Recipe, report: ReadReport, chat: Chat | None = None
) -> list[Example]:
    """Texts of one rule, drawn with the recipe's seed; a chat is read as `chat`, or the recipe, says."""
    examples = []
    for path in files_of(rule.files, recipe.directory if rule.own else directory):
        for number, row in read_rows(path, report, chat or recipe.student.chat):
            query, source = row.get("query"), str(row.get("source", path.stem))
            if not isinstance(query, str) or not query.strip():
                report.bad.append(f"{path.name}:{number}: query: expected text")
                continue
            label = rule.label or (row.get("label", "") if rule.own else "")
            opinion = rule.opinion if label or not rule.opinion else 1.0
            kept = (
                (not rule.sources or source in rule.sources)
                and source not in rule.hold_out
                and (not rule.kinds or row.get("kind") in rule.kinds)
                and rule.part[0] <= hash_fraction(near_duplicate_key(query), PART) < rule.part[1]
                and len(query) >= rule.min_chars
                and (not rule.max_chars or len(query) <= rule.max_chars)
            )
            if not kept:
                continue
            p_cloud = None
            if label:
                p_cloud = recipe.loss.certainty if label == CLOUD else 1.0 - recipe.loss.certainty
            report.rows[path.name] = report.rows.get(path.name, 0) + 1
            examples.append(Example(query.strip(), p_cloud, source, False, opinion))
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
