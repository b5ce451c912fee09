"""Data files to training examples; every bad row is reported with its file and line."""

import csv
import gzip
import json
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pointsman.artifact.manifest import Chat
from pointsman.datasets.duplicates import hash_fraction, near_duplicate_key
from pointsman.errors import DataError
from pointsman.labels import CLOUD, TARGETS
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
        p_cloud: what is known of its target, 0..1; None where nothing is.
        source: where it comes from.
        is_measured: the label is a measured outcome, not a rule.
    """

    query: str
    p_cloud: float | None
    source: str
    is_measured: bool


@dataclass(slots=True)
class ReadReport:
    """What reading saw: rows by file, and the bad ones."""

    rows: dict[str, int] = field(default_factory=dict)
    bad: list[str] = field(default_factory=list)
    leaked: int = 0


@dataclass(frozen=True, slots=True)
class Split:
    """Training and validation examples, and what was seen while reading."""

    train: list[Example]
    validation: list[Example]
    report: ReadReport


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


def outcome_of(row: dict[str, Any]) -> float | str:
    """The target of a row as a probability of cloud (0 or 1), or what is wrong with it."""
    if not isinstance(row.get("query"), str) or not row["query"].strip():
        return "query: expected text"
    label = row.get("label")
    if label not in (None, ""):
        named = str(label).strip().lower()
        return (
            float(named == CLOUD) if named in TARGETS else f"label: expected local or cloud, found {label!r}"
        )
    try:
        weak, strong = float(row["weak_score"]), float(row["strong_score"])
    except (KeyError, TypeError, ValueError):
        return "expected label, or weak_score and strong_score as numbers"
    if not (math.isfinite(weak) and math.isfinite(strong)):
        return "weak_score, strong_score: expected finite numbers"
    return float(strong > weak)


def read_outcomes(paths: Sequence[Path], report: ReadReport, chat: Chat = SINGLE) -> list[Example]:
    """Measured outcomes, one example a distinct query: the mean over the model pairs that answered it.

    Raises:
        DataError: no usable row, or only one class.
    """
    seen: dict[str, tuple[str, str, list[float]]] = {}
    for path in paths:
        for number, row in read_rows(path, report, chat):
            outcome = outcome_of(row)
            if isinstance(outcome, str):
                report.bad.append(f"{path.name}:{number}: {outcome}")
                continue
            report.rows[path.name] = report.rows.get(path.name, 0) + 1
            query = row["query"].strip()
            seen.setdefault(query, (query, path.stem, []))[2].append(outcome)
    if not seen:
        shown = "; ".join(report.bad[:_SHOWN_BAD_ROWS]) or "no files"
        raise DataError(f"no usable row in {[p.name for p in paths]}: {shown}.")
    examples = [Example(query, sum(o) / len(o), source, True) for query, source, o in seen.values()]
    if len({round(e.p_cloud or 0.0) for e in examples}) < 2:
        raise DataError(f"{[p.name for p in paths]}: every row has the same label; a router needs both.")
    return examples


def read_rule(rule: Rule, directory: Path, recipe: Recipe, report: ReadReport) -> list[Example]:
    """Texts of one rule, drawn with the recipe's seed."""
    examples = []
    for path in files_of(rule.files, recipe.directory if rule.own else directory):
        for number, row in read_rows(path, report, Chat(recipe.student.earlier_turns)):
            query, source = row.get("query"), str(row.get("source", path.stem))
            if not isinstance(query, str) or not query.strip():
                report.bad.append(f"{path.name}:{number}: query: expected text")
                continue
            label = rule.label or (row.get("label", "") if rule.own else "")
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
            examples.append(Example(query.strip(), p_cloud, source, False))
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


def load_split(recipe: Recipe, directory: Path) -> Split:
    """Everything that a recipe names, split so that near duplicates stay on one side.

    Raises:
        DataError: a file is missing or unusable.
    """
    report = ReadReport()
    train: list[Example] = []
    validation: list[Example] = []

    def place(examples: Sequence[Example], share: float, repeat: int = 1) -> None:
        for example in examples:
            if hash_fraction(near_duplicate_key(example.query), "validation") < share:
                validation.append(example)
            else:
                train.extend([example] * repeat)

    for outcomes in recipe.outcomes:
        chat = Chat(recipe.student.earlier_turns)
        found = read_outcomes(files_of(outcomes.files, directory), report, chat)
        place(found, outcomes.validation_share, outcomes.repeat)
    for rule in recipe.rules:
        place(read_rule(rule, directory, recipe, report), recipe.everyday_validation_share, rule.repeat)
    keys = {near_duplicate_key(example.query) for example in validation}
    clean = [example for example in train if near_duplicate_key(example.query) not in keys]
    report.leaked = len(train) - len(clean)
    if not clean:
        raise DataError(f"recipe {recipe.name}: nothing to train on.")
    return Split(clean, validation, report)
