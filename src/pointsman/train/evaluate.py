"""A router and a test suite in, a report out: scores every text once, then assesses, renders and draws."""

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pointsman.artifact.manifest import Chat
from pointsman.datasets.duplicates import near_duplicate_key
from pointsman.datasets.outcomes import Dataset, check_count, read_dataset
from pointsman.datasets.rows import COLUMNS, Columns
from pointsman.evaluation.bootstrap import Bootstrap
from pointsman.evaluation.quality import (
    Floats,
    Prices,
    Scorer,
    Slice,
    assess_calibration,
    assess_decisions,
    assess_difference,
    assess_examples,
    assess_flips,
    assess_ranking,
    assess_shares,
    assess_slice,
    groups_of,
)
from pointsman.evaluation.quality_text import render_markdown
from pointsman.evaluation.robustness import EDITS
from pointsman.labels import CLOUD
from pointsman.policy import Policy
from pointsman.progress import Progress
from pointsman.settings import Settings
from pointsman.train.baselines import (
    classifier_scores,
    length_scores,
    random_scores,
    subject_scores,
    trained_scores,
)
from pointsman.train.data import Example, Measured
from pointsman.train.quality_plots import draw_report
from pointsman.train.recipe import Recipe
from pointsman.train.recipe_loader import load_recipe
from pointsman.train.scoring import is_checkpoint, open_scorer
from pointsman.train.seen import seen_before
from pointsman.train.split import load_split, training_rows
from pointsman.train.suite import GUIDE, suite_dataset, suite_slices, suite_subjects, without_known
from pointsman.train.teacher import Reading

ROUTER = "router"
_MAX_TOKENS = 128
SEEN, UNSEEN = "seen, other texts", "unseen"
"""Whether training read other texts of a slice's source."""


@dataclass(frozen=True, slots=True)
class EvaluationPlan:
    """What to evaluate, on what, and where the report goes; the options of `pointsman evaluate`."""

    router: Path
    output: Path
    command: str
    name: str
    test: tuple[Path, ...] = ()
    columns: Columns = COLUMNS
    suite: Path | None = None
    data: Path | None = None
    recipe: tuple[Path, ...] = ()
    variant: str | None = None
    compare: tuple[str, ...] = ()
    cache: Path | None = None
    settings: Settings | None = None
    price_local: float = 0.0
    price_cloud: float = 1.0
    edits: int = 1000
    resamples: int = 1000
    seed: int = 0
    plots: bool = True

    @property
    def bootstrap(self) -> Bootstrap:
        """For the intervals."""
        return Bootstrap(self.resamples, self.seed)

    @property
    def answers(self) -> Path:
        """Directory of the answers of the models that the router is compared with."""
        return self.cache or self.output / ".cache"


def evaluate(plan: EvaluationPlan, progress: Progress) -> Path:
    """Evaluate and write the report; returns the path of its README.md.

    Raises:
        DataError: what to test on cannot be used.
        SettingsError: an option that does not fit the router.
    """
    scorer, policy, chat = open_scorer(plan.router, plan.variant, plan.settings)
    data, slices = _tests(plan, chat)
    notes = [f"Row left out: {bad}" for bad in (data.bad[:20] if data else ())]
    if data is not None:
        few = check_count(len(data.queries), "evaluate on") if plan.test else None
        notes += [*([few] if few else []), *seen_before(plan.router, data)]
        if data.weight is not None:
            count = f"{len(data.queries):,} rows count as {data.weight.sum():,.0f} queries of the log"
            notes.append(f"{count}, each by its weight; intervals are over the rows.")
        for note in notes:
            progress(note)
    plan.output.mkdir(parents=True, exist_ok=True)  # before minutes are spent
    read = _read_in_training(plan)
    if plan.recipe and plan.data is not None:
        slices, dropped = without_known(slices, {near_duplicate_key(e.query) for e in read})
        notes.append(f"{dropped} texts of the slices were near duplicates of a training text, and left out.")
    report = _head(plan, policy, notes)
    if data is not None:
        report |= _measured(plan, data, scorer, policy, progress)
    report |= _everyday(plan, slices, scorer, policy)
    report |= _kinds(plan, data, slices, scorer)
    if sources := {e.source for e in read}:
        for part in report.get("everyday", ()):
            part["source"] = SEEN if part["name"] in sources else UNSEEN
    texts = _texts_to_edit(plan, data, slices)
    if texts:
        progress(f"edits: {len(texts):,} texts, {len(EDITS)} ways")
        report["flips"] = _flips(plan, texts, scorer, policy)
    return _write(plan, report)


def _head(plan: EvaluationPlan, policy: Policy, notes: list[str]) -> dict[str, Any]:
    return {
        "name": plan.name,
        "router": ROUTER,
        "command": plan.command,
        "resamples": plan.resamples,
        "seed": plan.seed,
        "policy": asdict(policy),
        "prices": {"local": plan.price_local, "cloud": plan.price_cloud},
        "notes": notes,
    }


def _read_in_training(plan: EvaluationPlan) -> list[Example]:
    if plan.data is None:
        return []
    return [e for path in plan.recipe for e in load_split(load_recipe(path), plan.data).train]


def _training_rows(plan: EvaluationPlan) -> list[Measured]:
    """The measured rows that the first of the recipes trains on."""
    if not plan.recipe or plan.data is None:
        return []
    return training_rows(load_recipe(plan.recipe[0]), plan.data)


def _kinds(
    plan: EvaluationPlan, data: Dataset | None, slices: Sequence[Slice], scorer: Scorer
) -> dict[str, Any]:
    """Calibration of each kind of traffic, and of both as one."""
    kinds: dict[str, tuple[Floats, Floats, Floats]] = {}
    if data is not None:
        weight = np.ones(len(data.queries)) if data.weight is None else data.weight
        kinds["measured"] = (data.is_cloud.astype(np.float64), scorer(data.queries), weight)
    ruled = [part for part in slices if part.name != GUIDE]
    if ruled:
        belongs = [np.full(len(part.queries), float(part.label == CLOUD)) for part in ruled]
        p_cloud = np.concatenate([scorer(part.queries) for part in ruled])
        kinds["everyday"] = (np.concatenate(belongs), p_cloud, np.ones(len(p_cloud)))
    if len(kinds) == 2:
        kinds["both"] = tuple(map(np.concatenate, zip(*kinds.values(), strict=True)))  # type: ignore[assignment]
    return {"kinds": {name: assess_calibration(*kind, plan.bootstrap) for name, kind in kinds.items()}}


def _tests(plan: EvaluationPlan, chat: Chat) -> tuple[Dataset | None, list[Slice]]:
    if plan.suite is None or plan.data is None:
        return read_dataset(plan.test, replace(plan.columns, chat=chat)), []
    suite: Recipe = load_recipe(plan.suite)
    return suite_dataset(suite, plan.data), suite_slices(suite, plan.data, chat)


def _measured(
    plan: EvaluationPlan, data: Dataset, scorer: Scorer, policy: Policy, progress: Progress
) -> dict[str, Any]:
    progress(f"measured: {len(data.queries):,} rows")
    scores = {ROUTER: scorer(data.queries), **_others(plan, data.queries, progress)}
    prices = Prices(plan.price_local, plan.price_cloud)
    sets = {}
    for name, rows in groups_of(data).items():
        progress(f"bootstrap: {name}")
        part, p_cloud = data.subset(rows), scores[ROUTER][rows]
        sets[name] = {
            "rows": int(rows.sum()),
            "cloud_is_better": float(np.average(part.is_cloud, weights=part.weight)),
            "ranking": {k: assess_ranking(part, s[rows], plan.bootstrap) for k, s in scores.items()},
            "decisions": assess_decisions(part, p_cloud, policy, prices, plan.bootstrap),
        }
    differences = {
        k: assess_difference(data, scores[ROUTER], s, plan.bootstrap)
        for k, s in scores.items()
        if k != ROUTER
    }
    return {
        "sets": sets,
        "differences": differences,
        "shares": assess_shares(scores[ROUTER], plan.seed, data.weight),
        "data_sha256": data.sha256,
    }


def _others(plan: EvaluationPlan, texts: Sequence[str], progress: Progress) -> dict[str, Floats]:
    """The scores of what the router is compared with."""
    found: dict[str, Floats] = {}
    reading = Reading(plan.answers, _MAX_TOKENS, progress)
    for other in plan.compare:
        progress(f"comparing with {other}")
        name, _, directory = other.partition("=")
        if directory and is_checkpoint(Path(directory)):
            found[name] = classifier_scores(Path(directory), texts, reading)
        else:
            path, variant = (Path(directory), None) if directory else (plan.router, name)
            found[name] = open_scorer(path, variant)[0](texts)
    found |= {"random": random_scores(texts, plan.seed), "query length": length_scores(texts)}
    if train := _training_rows(plan):
        progress("baselines: TF-IDF + LR, MiniLM + LR, a ridge on the gain, nearest neighbours, subjects")
        found |= trained_scores(train, texts, reading)
        if plan.suite is not None and plan.data is not None:
            subjects = suite_subjects(load_recipe(plan.suite), plan.data)
            found["table of subjects"] = subject_scores(train, texts, subjects)
    return found


def _everyday(
    plan: EvaluationPlan, slices: Sequence[Slice], scorer: Scorer, policy: Policy
) -> dict[str, Any]:
    if not slices:
        return {}
    everyday, guide = [], []
    for part in slices:
        p_cloud = scorer(part.queries)
        if part.name == GUIDE:
            guide += assess_examples(part, p_cloud)
            continue
        everyday.append(assess_slice(part, p_cloud, policy, plan.bootstrap))
    return {"everyday": everyday, "guide": guide}


def _texts_to_edit(plan: EvaluationPlan, data: Dataset | None, slices: Sequence[Slice]) -> list[str]:
    """Half measured queries, half everyday ones, as far as there are both."""
    rng = random.Random(plan.seed)
    pools = [list(dict.fromkeys(data.queries)) if data else [], [q for s in slices for q in s.queries]]
    each = plan.edits // max(1, sum(bool(pool) for pool in pools))
    return [text for pool in pools for text in rng.sample(pool, min(each, len(pool)))]


def _flips(plan: EvaluationPlan, texts: Sequence[str], scorer: Scorer, policy: Policy) -> dict[str, Any]:
    rng = random.Random(plan.seed)
    edited = {name: [edit(text, rng) for text in texts] for name, edit in EDITS.items()}
    after = {name: scorer(changed) for name, changed in edited.items()}
    return assess_flips(scorer(texts), after, policy.effective_threshold, plan.bootstrap)


def _write(plan: EvaluationPlan, report: dict[str, Any]) -> Path:
    text = json.dumps(_plain(report), indent=1, allow_nan=False, ensure_ascii=False)
    (plan.output / "evaluation.json").write_text(text + "\n", encoding="utf-8")
    if plan.plots:
        draw_report(report, plan.output)
    readme = plan.output / "README.md"
    readme.write_text(render_markdown(report), encoding="utf-8")
    return readme


def _plain(value: Any) -> Any:
    """Six digits say all that a test set can; what is not defined is null."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return round(value, 6) if np.isfinite(value) else None
    return value
