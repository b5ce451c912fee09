"""From a work folder to a router: learn, export, calibrate, compare."""

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from pointsman.artifact.manifest import Calibration
from pointsman.artifact.store import Artifact, require_place
from pointsman.checkpoint.word_experts import TABLE_LIMIT
from pointsman.convert.build import export
from pointsman.convert.options import ExportOptions
from pointsman.errors import DataError, TrainingError
from pointsman.evaluation.calibration import cloud_margin, fit_calibration
from pointsman.evaluation.quality import router_scores
from pointsman.evaluation.threshold import held_out_curve, store
from pointsman.fit.comparison import FITTED, LENGTH, ROUTER, WORDS, Compared, compare, verdict
from pointsman.fit.linear import MOST_ROWS, Fit, fit_gain, word_ridge
from pointsman.fit.reading import Base
from pointsman.fit.rows import FEW_ROWS, FEWEST_ROWS, Floats, Rows, read_rows, require_both_kinds
from pointsman.fit.thresholds import UNSEEN, keep_unseen, unseen_key
from pointsman.progress import Progress
from pointsman.runtime.router import Router
from pointsman.traffic.agreement import Agreement, agreement
from pointsman.traffic.work import Work

_SPREAD = 1.5
"""Standard deviation of the margins, in log-odds, before calibration."""
_MOST = 0.9 * TABLE_LIMIT
"""Largest weight of a token in the new checkpoint."""


@dataclass(frozen=True, slots=True)
class FitPlan:
    """What `pointsman fit` is told.

    Attributes:
        work: the work folder.
        output: where the artifact goes; it must not exist.
        base: checkpoint directory to start from.
        router: today's router: an artifact; None takes the shipped one.
        group: a column that is never split; see `read_rows`.
        accept_agreement: fit although judge and person agree too little.
        threads: of reading and export.
        seed: of the intervals' draws.
    """

    work: Path
    output: Path
    base: Path
    router: Path | None = None
    group: str | None = None
    accept_agreement: bool = False
    threads: int = 2
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Learned:
    """What rows taught, before anything is exported.

    Attributes:
        rows: every row.
        fit: the ridge, and its margin of every row without that row's fold.
        scores: of every row, by ranking, none of which has learned from the row's fold, float64 (rows,).
        compared: the same rankings with their intervals.
    """

    rows: Rows
    fit: Fit
    scores: Mapping[str, Floats]
    compared: Mapping[str, Compared]


@dataclass(frozen=True, slots=True)
class Fitted:
    """What came of it.

    Attributes:
        artifact: the new router.
        learned: from which rows, and how well.
        p_cloud: of every row, by a ridge that was fitted without the row's fold, float64 (rows,).
        recommended: whether to use the router.
        sentence: why, in one sentence.
        facts: the work folder's facts: models, currency, judging.
        agreement: of judge and person; None without labels of a person.
    """

    artifact: Artifact
    learned: Learned
    p_cloud: Floats
    recommended: bool
    sentence: str
    facts: dict[str, Any]
    agreement: Agreement | None


def fit(plan: FitPlan, progress: Progress) -> Fitted:
    """Fit a router to a work folder.

    Raises:
        DataError: too few rows, or rows that cannot teach, or a judge that a person disagrees with.
        CheckpointError: the base cannot be used.
        OutputExistsError: the output is taken.
    """
    import torch

    require_place(plan.output)
    torch.set_num_threads(plan.threads)
    # To the end: what is kept in the folder last must not fail because another command came in between.
    with Work.open(plan.work) as work:
        return _fit(plan, work, progress)


def _fit(plan: FitPlan, work: Work, progress: Progress) -> Fitted:
    rows = read_rows(work, plan.group, FEWEST_ROWS)
    facts = {name: work.fact(name) for name in ("pair", "judging", "choice")}
    agreed = agreement(work)
    if agreed is not None and not plan.accept_agreement:
        agreed.require()
    rows = _usable(rows, plan.seed, progress)
    base = Base(plan.base)
    learned = learn(base, Router.open(plan.router), rows, plan.seed)
    # Before the export, which takes its minute: it may refuse.
    calibration = calibration_of(learned)
    progress(f"fit: {learned.fit.from_words:.0%} of the router is words, the rest the base")
    recommended, sentence = verdict(learned.compared)
    record: dict[str, Any] = {
        **_record(learned),
        "group": plan.group,
        "recommended": recommended,
        "sentence": sentence,
        "judging": facts["judging"],
        "agreement": None if agreed is None else asdict(agreed),
    }
    with tempfile.TemporaryDirectory(dir=plan.output.resolve().parent, prefix=".fit-") as scratch:
        checkpoint = base.changed(learned.fit.change, Path(scratch) / "checkpoint", rows.queries)
        options = ExportOptions(plain=False, measure=False, threads=plan.threads, name=plan.output.name)
        artifact = export(checkpoint, Path(scratch) / "exported", options, progress).artifact
        p_cloud = _served(artifact, learned, calibration, progress)
        record[UNSEEN] = unseen_key(p_cloud)
        provenance = {**artifact.manifest.provenance, "fit": record}
        artifact = replace(artifact, manifest=replace(artifact.manifest, provenance=provenance))
        # First, because `choose` needs it, and a fit that is interrupted here leaves no router without it.
        keep_unseen(work, rows, p_cloud)
        curve = held_out_curve(p_cloud, rows.dataset, rows.dataset.sha256, rows.queries)
        artifact = store(artifact, plan.output, calibration, None, curve)
    return Fitted(artifact, learned, p_cloud, recommended, sentence, facts, agreed)


def _record(learned: Learned) -> dict[str, Any]:
    """What was learned from what, for the artifact's provenance."""
    return {
        "from_words": round(learned.fit.from_words, 4),
        "out_of_fold_apgr": {name: round(one.apgr.value, 4) for name, one in learned.compared.items()},
        "rows": len(learned.rows.queries),
        "rows_sha256": learned.rows.dataset.sha256,
    }


def _usable(rows: Rows, seed: int, progress: Progress) -> Rows:
    """The rows, or as many of them as a ridge can be solved for; says where they are few or too many."""
    require_both_kinds(rows)
    count = len(rows.queries)
    if count < FEW_ROWS:
        progress(f"fit: warning: {count} scored rows are few; {FEW_ROWS:,} or more are better")
    if count <= MOST_ROWS:
        return rows
    progress(f"fit: {count:,} rows: learning from {MOST_ROWS:,} of them, drawn at random")
    return rows.at(np.sort(np.random.default_rng(seed).permutation(count)[:MOST_ROWS]))


def learn(base: Base, today: Router, rows: Rows, seed: int = 0) -> Learned:
    """Fit the ridge, and compare it with simpler rankings of rows that it had not seen."""
    read = base.read(rows.queries)
    # Several threads on matrices of some hundred rows wait for each other most of the time.
    with threadpool_limits(1, "blas"):
        made = fit_gain(read, base.meanings, rows)
    spread, largest = max(float(made.margins.std()), 1e-9), max(base.largest(made.change), 1e-9)
    made = made.times(min(_SPREAD / spread, _MOST / largest))
    scores = {
        FITTED: made.margins,
        ROUTER: cloud_margin(today.logits(rows.queries), today.labels.cloud_index),
        LENGTH: np.array([len(q) for q in rows.queries], np.float64),
        WORDS: word_ridge(rows),
    }
    return Learned(rows, made, scores, compare(rows, scores, seed))


def calibration_of(learned: Learned) -> Calibration:
    """The calibration that is honest on rows that no ridge had seen.

    Raises:
        TrainingError: on those rows, what was learned does not point towards the labels.
    """
    rows = learned.rows
    target, weight = (rows.gain > 0).astype(np.float64), rows.weight / rows.weight.mean()
    try:
        return fit_calibration(learned.fit.margins, target, "platt", rows.dataset.sha256, weight)
    except DataError as error:
        raise TrainingError(
            f"nothing was learned that holds on rows that the ridge had not seen: {error} Keep today's "
            "router; judge more rows, or look at them: do the verdicts depend on the query at all?"
        ) from None


def _served(artifact: Artifact, learned: Learned, calibration: Calibration, progress: Progress) -> Floats:
    """p_cloud of every row from before it was learned, as the router would have served it."""
    served = router_scores(Router.open(artifact), learned.rows.queries)
    if unread := int((~np.isfinite(served)).sum()):
        progress(
            f"fit: warning: {unread:,} of {len(served):,} rows are in words or a script that the base cannot "
            f"read; the router sends such texts to the {artifact.manifest.policy.safe_target} model"
        )
    p_cloud = 1.0 / (1.0 + np.exp(-(calibration.a * learned.fit.margins + calibration.b)))
    return np.where(np.isfinite(served), p_cloud, np.clip(served, 0.0, 1.0))
