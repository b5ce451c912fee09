"""Candidates are judged on the rows that training never had, the first one being the measure."""

import json
from pathlib import Path

import numpy as np
import pytest

from tools import router_held_out

pytestmark = pytest.mark.torch

RECIPE = """
name = "r"
everyday_validation_share = 0.5
[[outcomes]]
files = "x.jsonl"
validation_share = 0.5
[[rules]]
files = "own.jsonl"
own = true
"""


class ByWord:
    """A scorer that knows the hard word, or takes it for the easy one where its directory is called so."""

    def __init__(self, directory: Path) -> None:
        self.is_wrong = directory.name == "wrong"

    def __call__(self, texts):
        return np.array([float(("prove" in text) != self.is_wrong) for text in texts])


def test_each_candidate_has_a_line_with_its_difference_from_the_first(tmp_path, monkeypatch):
    words = ("prove", "hello")
    rows = [{"query": f"{words[i % 2]} {i}", "weak_score": i % 2, "strong_score": 1} for i in range(60)]
    own = [{"query": f"{words[i % 2]} the {i}", "label": ("cloud", "local")[i % 2]} for i in range(60)]
    for name, of in (("x", rows), ("own", own)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in of), encoding="utf-8")
    (tmp_path / "r.toml").write_text(RECIPE, encoding="utf-8")
    monkeypatch.setattr(router_held_out, "CheckpointScorer", ByWord)
    right, wrong = router_held_out.lines(tmp_path / "r.toml", tmp_path, [Path("right"), Path("wrong")])
    cells = [cell.strip() for cell in right.split("|")]
    assert cells[1] == "right"
    assert float(cells[2]) > 0.7
    assert cells[3].startswith("+0.000")
    assert cells[4].startswith("100.0 % of ")
    assert cells[6] == "-"
    assert [cell.strip() for cell in wrong.split("|")][3].startswith("-")
    assert "| 0.0 % of" in wrong
