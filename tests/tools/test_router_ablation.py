"""The ablation: every lever has a line, and a lever that knows more is worth something."""

import json
import random

import pytest
from tools.router_ablation import ablation

from pointsman.train.recipe_loader import load_recipe

pytestmark = pytest.mark.torch

RECIPE = """
name = "r"
[[outcomes]]
family = "first"
files = "first.jsonl"
validation_share = 0.3
[[outcomes]]
family = "second"
files = "second.jsonl"
validation_share = 0.3
"""


def test_experts_by_family_know_what_one_regression_cannot(tmp_path):
    rng = random.Random(4)
    for name, hard_word in (("first", "zeta"), ("second", "eta")):
        rows = []
        for i in range(120):
            word = rng.choice(("zeta", "eta"))
            scores = {"weak_score": float(word != hard_word), "strong_score": 1}
            rows.append({"query": f"{word} question {i} of {name}", "source": f"{name} {i % 2}", **scores})
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"{name}.jsonl").write_text(text, encoding="utf-8")
    (tmp_path / "r.toml").write_text(RECIPE, encoding="utf-8")
    found = ablation(load_recipe(tmp_path / "r.toml"), tmp_path, tmp_path / "cache")
    assert len(found) == 7
    pooled = [figures["pooled"] for figures in found.values()]
    assert min(pooled[3], pooled[6]) > pooled[1] + 0.1
    assert all(0.0 <= value <= 1.0 for figures in found.values() for value in figures.values())
