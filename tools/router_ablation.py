"""What each lever of the target is worth to the teacher, and what it knows of families that are left out.

`python -m tools.router_ablation RECIPE DATA CACHE` prints both tables: from a ridge on words that learns
whether the strong answer is better, one lever more a line; and each family by what the others teach.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from transformers import AutoTokenizer

from pointsman.evaluation.curve import apgr, cost_quality_curve
from pointsman.train.batches import encode
from pointsman.train.data import Example, Measured
from pointsman.train.experts import all_features, balanced_weights, ridge_opinion
from pointsman.train.recipe import Recipe, Target
from pointsman.train.recipe_loader import load_recipe
from pointsman.train.split import held_out_rows, learned_examples, load_split, training_rows
from pointsman.train.teacher import Reading, embed, shipped_encoder
from pointsman.train.word_experts import word_experts_from
from tools.left_out_families import MEAN, distinct, leave_one_out

Key = tuple[str, str]


def ablation(recipe: Recipe, data: Path, cache: Path) -> dict[str, dict[str, float]]:
    """APGR on the held-out rows, pooled and as the mean over the families, by the levers that are on."""
    rows = held_out_rows(recipe, data)
    asked = list(dict.fromkeys((row.query, row.source) for row in rows))
    steps = {
        "whether the strong answer is better": (Target(), False, False),
        "+ how much better: the gain": (Target(gain=True), False, False),
        "+ denoised": (Target(gain=True, denoise=0.5), False, False),
        "+ an expert for each family": (Target(gain=True, denoise=0.5), True, False),
        "+ shrunk to the subject": (Target(gain=True, denoise=0.5, shrink=0.5), True, False),
        "+ experts on sentence vectors": (Target(gain=True, denoise=0.5, shrink=0.5), True, True),
    }
    found = {}
    for name, (target, by_family, with_vectors) in steps.items():
        known = learned_examples(replace(recipe, target=target), data)
        encoder = cache if with_vectors else None
        said = dict(zip(asked, _opinions(known, asked, by_family, encoder), strict=True))
        found[name] = _figures(rows, np.array([said[row.query, row.source] for row in rows]))
    found["what a router carries of it: word experts and their gate"] = _figures(
        rows, word_margins(recipe, data, [row.query for row in rows])
    )
    return found


def word_margins(recipe: Recipe, data: Path, queries: Sequence[str]) -> np.ndarray:
    """The margins of word experts that learned from the recipe, float64 (queries,): no family is told."""
    tokenizer = AutoTokenizer.from_pretrained(shipped_encoder())
    recipe = replace(recipe, word_experts=replace(recipe.word_experts, strength=1.0))
    experts = word_experts_from(load_split(recipe, data).train, tokenizer, len(tokenizer), recipe)
    ids = encode(tokenizer, queries, recipe.student.max_tokens)
    return np.array([experts.margins(*np.array([[row], [[1] * len(row)]]))[0] for row in ids])


def _opinions(
    known: Sequence[Example], asked: Sequence[Key], by_family: bool, cache: Path | None
) -> np.ndarray:
    """The ridges' expected gain of each question asked, float64 (asked,)."""
    texts = [*(e.query for e in known), *(query for query, _ in asked)]
    family = np.array([*(e.source for e in known), *(name for _, name in asked)])
    learn = np.arange(len(texts)) < len(known)
    gains = np.array([*(e.p_cloud for e in known), *np.zeros(len(asked))], np.float64)
    features = all_features(texts, learn, [_vectors(texts, cache)] if cache else [])
    if not by_family:
        return ridge_opinion(features, gains, balanced_weights(family, learn), learn, ~learn)
    said = np.zeros(len(texts))
    for name in np.unique(family[~learn]):
        own, ask = learn & (family == name), ~learn & (family == name)
        said[ask] = ridge_opinion(features, gains, np.ones(len(gains)), own, ask)
    return said[~learn]


def _vectors(texts: Sequence[str], cache: Path) -> np.ndarray:
    return embed(texts, shipped_encoder(), Reading(cache, 128, lambda line: None))


def _figures(rows: Sequence[Measured], score: np.ndarray) -> dict[str, float]:
    weak, strong = (np.array([getattr(row, name) for row in rows]) for name in ("weak", "strong"))
    family = np.array([row.source for row in rows])
    parts = [family == name for name in np.unique(family)]
    areas = [apgr(cost_quality_curve(score[p], weak[p], strong[p])) for p in [family != "", *parts]]
    return {"pooled": areas[0], "mean over families": float(np.mean(areas[1:]))}


def print_tables(recipe: Recipe, data: Path, cache: Path) -> None:
    """Both tables as Markdown."""
    print("| the target and its teacher | pooled | mean over families |\n| --- | --- | --- |")
    for lever, figures in ablation(recipe, data, cache).items():
        print(f"| {lever} | {' | '.join(f'{value:.3f}' for value in figures.values())} |")
    rows = training_rows(recipe, data)
    vectors = _vectors(distinct(rows), cache)
    for by_subject in ([], ["llmrouter"]):
        found = leave_one_out(rows, vectors, by_subject)
        print(f"\n| left out | {' | '.join(found[MEAN])} |\n| --- | --- | --- | --- |")
        for name, figures in found.items():
            shown = ["-" if np.isnan(value) else f"{value:.3f}" for value in figures.values()]
            print(f"| {name} | {' | '.join(shown)} |")


if __name__ == "__main__":
    print_tables(load_recipe(Path(sys.argv[1])), *map(Path, sys.argv[2:4]))
