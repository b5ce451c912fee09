"""The project's own queries: enough of each kind, and no text shared between the sets."""

import json
from collections import Counter
from importlib.resources import files
from pathlib import Path

import pytest

from pointsman.datasets.reading import calibration_queries, project_queries

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
KINDS = {
    "greeting",
    "thanks",
    "device_command",
    "small_talk",
    "simple_lookup",
    "arithmetic",
    "definition",
    "translation",
    "summary",
    "code_small",
    "code_hard",
    "proof_math",
    "business_analysis",
    "planning",
    "long_form_writing",
    "expert_writing",
    "unusual",
}
# The short phrases by which routers are commonly shown; they may stand in more than one set.
WELL_KNOWN = {
    "can you analyze the quarterly business performance?",
    "hello there!",
    "analyze quarterly sales performance",
    "what's 5 + 3?",
    "write a comprehensive business plan",
    "thanks for your help",
}
SETS = {
    "test": ("pointsman.datasets", "queries.jsonl", 320, 18, 6),
    "calibration": ("pointsman.datasets", "calibration.jsonl", 300, 17, 10),
}


def _rows(name: str) -> list[dict[str, str]]:
    package, file, *_ = SETS[name]
    text = files(package).joinpath(file).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n") if line]


def _folded(name: str) -> set[str]:
    return {row["query"].casefold().strip() for row in _rows(name)}


def _everyday() -> set[str]:
    lines = [
        line
        for path in sorted(RECIPES.glob("everyday-*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    assert lines
    return {json.loads(line)["query"].casefold().strip() for line in lines}


@pytest.mark.parametrize("name", SETS)
def test_a_set_has_every_kind_and_repeats_nothing(name: str) -> None:
    _, _, count, least, long = SETS[name]
    rows = _rows(name)
    kinds = Counter(row["kind"] for row in rows)
    assert len(rows) == len(_folded(name)) == count
    assert set(kinds) == KINDS
    assert min(kinds.values()) >= least
    assert all(set(row) == {"query", "kind"} and row["query"].strip() for row in rows)
    assert sum(len(row["query"].split()) >= 100 for row in rows) >= long
    assert any(len(row["query"].split()) == 1 for row in rows)


def test_what_is_proved_on_was_not_calibrated_on() -> None:
    assert not _folded("test") & _folded("calibration")


def test_neither_set_shares_text_with_what_routers_are_trained_or_judged_on() -> None:
    assert not _folded("calibration") & _everyday()
    assert _folded("test") & _everyday() <= WELL_KNOWN <= _folded("test")


def test_the_export_reads_the_test_set() -> None:
    assert project_queries() == [row["query"] for row in _rows("test")]


def test_the_export_reads_the_calibration_set() -> None:
    assert calibration_queries() == [row["query"] for row in _rows("calibration")]
