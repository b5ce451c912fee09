"""Each lever of a recipe's target is switched by its own key, and touches training rows only."""

import json

import pytest

from pointsman.train.recipe_loader import load_recipe
from pointsman.train.split import held_out_rows, load_split, training_rows

pytestmark = pytest.mark.torch

RECIPE = """
name = "r"
seed = 5
everyday_validation_share = 0.2
[student]
earlier_turns = 2
[target]
LEVERS
[followups]
file = "phrases.jsonl"
count = 40
[[outcomes]]
family = "exam"
files = "x.jsonl"
scores = "scores.jsonl"
validation_share = 0.3
[[rules]]
files = "own.jsonl"
own = true
"""


@pytest.fixture
def split_of(tmp_path):
    def write(name, rows):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    pair = {"weak_model": "w", "strong_model": "s", "strong_score": 0.5}
    queries = [f"question number {i}" for i in range(100)]
    write("x.jsonl", [{"query": q, "weak_score": (i % 3) / 2, **pair} for i, q in enumerate(queries)])
    write("scores.jsonl", [{"query": q, "scores": {"other": i % 2}} for i, q in enumerate(queries)])
    write("own.jsonl", [{"query": f"hi {i}", "label": ("local", "cloud")[i % 2]} for i in range(40)])
    write("phrases.jsonl", [{"query": "go on", "kind": "continues"}, {"query": "bye", "kind": "closes"}])

    def split(levers):
        (tmp_path / "r.toml").write_text(RECIPE.replace("LEVERS", levers), encoding="utf-8")
        recipe = load_recipe(tmp_path / "r.toml")
        return recipe, load_split(recipe, tmp_path)

    return split


def targets(examples):
    return {e.query: e.p_cloud for e in examples if e.is_measured}


def test_a_target_is_the_outcome_the_gain_or_its_expectation(split_of):
    _, plain = split_of("")
    assert set(targets(plain.train).values()) == {0.0, 1.0}
    _, gain = split_of("gain = true")
    assert set(targets(gain.train).values()) == {-0.5, 0.0, 0.5}
    _, shrunk = split_of("gain = true\nshrink = 1.0")
    assert all(abs(value) < 0.1 for value in targets(shrunk.train).values())
    _, denoised = split_of("gain = true\ndenoise = 0.5")
    assert targets(denoised.train) != targets(gain.train)
    for split in (shrunk, denoised):
        assert targets(split.validation) == targets(gain.validation), "held-out rows stay as measured"


def test_chats_are_made_of_each_parts_own_texts(split_of):
    _, split = split_of("gain = true")
    made = [[e for e in part if e.source == "follow-ups"] for part in (split.train, split.validation)]
    assert [len(part) for part in made] == [40, 8]
    single = {e.query for e in split.validation if "\n" not in e.query}
    turns = {turn for e in made[1] for turn in e.query.split("\n¶ ")} - {"go on", "bye"}
    assert turns <= single


def test_rows_are_trained_on_or_held_out(split_of, tmp_path):
    recipe, split = split_of("gain = true")
    kept, out = training_rows(recipe, tmp_path), held_out_rows(recipe, tmp_path)
    assert {row.query for row in kept} == set(targets(split.train))
    assert {row.query for row in out} == set(targets(split.validation))
    assert {row.source for row in kept} == {"exam"}
