"""Candidates for the default router on the rows that a recipe holds out: how one is chosen with no test row.

`python -m tools.router_held_out RECIPE DATA CHECKPOINT...` prints APGR over the measured rows, the difference
from the first checkpoint on the same rows with its 95 % interval, and which share of the texts whose rule is
sure is on its side of one half.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pointsman.datasets.outcomes import Dataset
from pointsman.evaluation.bootstrap import Bootstrap
from pointsman.evaluation.curve import apgr, cost_quality_curve
from pointsman.evaluation.quality import assess_difference
from pointsman.train.data import Example
from pointsman.train.recipe_loader import load_recipe
from pointsman.train.scoring import CheckpointScorer
from pointsman.train.split import held_out_rows, load_split

Floats = NDArray[np.float64]
HEAD = [
    "| checkpoint | APGR | less the first's | local | cloud | chats |",
    "| --- | --- | --- | --- | --- | --- |",
]


def lines(recipe_path: Path, data: Path, checkpoints: Sequence[Path]) -> list[str]:
    """The table's lines, one a checkpoint."""
    recipe = load_recipe(recipe_path)
    rows = held_out_rows(recipe, data)
    ruled = [e for e in load_split(recipe, data).validation if _is_sure(e)]
    weak, strong = (np.array([getattr(row, name) for row in rows]) for name in ("weak", "strong"))
    group = np.array([row.source for row in rows])
    measured = Dataset(tuple(row.query for row in rows), group, weak, strong)
    made, first = [], None
    for checkpoint in checkpoints:
        scorer = CheckpointScorer(checkpoint)
        asked = list(dict.fromkeys([*measured.queries, *(e.query for e in ruled)]))
        said = dict(zip(asked, scorer(asked), strict=True))
        score = np.array([said[query] for query in measured.queries])
        first = score if first is None else first
        lead = assess_difference(measured, score, first, Bootstrap())
        cells = [checkpoint.name, f"{apgr(cost_quality_curve(score, weak, strong)):.3f}"]
        cells.append(f"{lead['value']:+.3f} [{lead['low']:+.3f}, {lead['high']:+.3f}]")
        cells += [_right(ruled, said, kind) for kind in ("local", "cloud", "chats")]
        made.append(f"| {' | '.join(cells)} |")
    return made


def _is_sure(example: Example) -> bool:
    return not example.is_measured and not example.opinion and example.p_cloud is not None


def _kind(example: Example) -> str:
    if example.source == "follow-ups":
        return "chats"
    return "cloud" if (example.p_cloud or 0.0) >= 0.5 else "local"


def _right(ruled: Sequence[Example], said: dict[str, float], kind: str) -> str:
    right = [(said[e.query] >= 0.5) == ((e.p_cloud or 0.0) >= 0.5) for e in ruled if _kind(e) == kind]
    return f"{100 * np.mean(right):.1f} % of {len(right)}" if right else "-"


if __name__ == "__main__":
    print("\n".join([*HEAD, *lines(Path(sys.argv[1]), Path(sys.argv[2]), [Path(p) for p in sys.argv[3:]])]))
