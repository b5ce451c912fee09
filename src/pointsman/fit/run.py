"""From a work folder to a router: split, teach, train, export, calibrate, compare."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pointsman.artifact.store import Artifact, refuse_existing
from pointsman.convert.build import export
from pointsman.convert.options import ExportOptions
from pointsman.datasets.duplicates import SKETCH, row_sketch
from pointsman.datasets.reading import calibration_queries, project_queries
from pointsman.errors import DataError, TrainingError
from pointsman.evaluation.calibration import cloud_margin, fit_calibration
from pointsman.evaluation.curve import apgr, cost_quality_curve
from pointsman.evaluation.threshold import held_out_curve, store
from pointsman.fit.comparison import FITTED, LENGTH, Compared, compare, verdict
from pointsman.fit.rows import (
    CALIBRATE,
    FEW_ROWS,
    FEWEST_ROWS,
    TEST,
    TRAIN,
    Floats,
    Rows,
    read_rows,
    require_both_kinds,
)
from pointsman.fit.stack import ROUTER, WORDS, Stack, Texts, fit_stack, folds_of, word_features
from pointsman.fit.student import ALL, DISTIL, HEAD, LAST, TUNE, Training, crops, learn, teacher_targets
from pointsman.fit.thresholds import served_scores
from pointsman.progress import Progress
from pointsman.runtime.router import Router
from pointsman.traffic.agreement import Agreement, agreement
from pointsman.traffic.work import Work
from pointsman.train.teacher import embed, shipped_encoder

_CROPS = 2
_AHEAD = 0.02
"""A fine-tuned model replaces the stack where it is so much better (APGR) out of fold."""


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
        texts: without scores, for the student to hear its teacher on, at most.
        threads: of training and export.
        seed: of every draw.
    """

    work: Path
    output: Path
    base: Path
    router: Path | None = None
    group: str | None = None
    accept_agreement: bool = False
    texts: int = 3000
    threads: int = 2
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Fitted:
    """What came of it.

    Attributes:
        artifact: the new router.
        rows: every row, with its part.
        p_cloud: of every row under the new router, float64 (rows,).
        scores: of the rows that were held out, by ranking, float64 (held-out rows,).
        candidates: APGR out of fold of everything that competed.
        chosen: the name of what was learned.
        compared: every ranking of the rows that were held out.
        recommended: whether to use the router.
        sentence: why, in one sentence.
        facts: the work folder's facts: models, currency, judging.
        agreement: of judge and person; None without labels of a person.
    """

    artifact: Artifact
    rows: Rows
    p_cloud: Floats
    scores: dict[str, Floats]
    candidates: dict[str, float]
    chosen: str
    compared: dict[str, Compared]
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

    refuse_existing(plan.output)
    torch.set_num_threads(plan.threads)
    with Work.open(plan.work) as work:
        rows = read_rows(work, plan.group, FEWEST_ROWS)
        log = [q.text for q in work.queries(sampled=False)]
        facts = {name: work.fact(name) for name in ("pair", "judging", "choice")}
        agreed = agreement(work)
    if agreed is not None and not plan.accept_agreement:
        agreed.require()
    require_both_kinds(rows)
    if len(rows.queries) < FEW_ROWS:
        progress(f"fit: warning: {len(rows.queries)} scored rows are few; {FEW_ROWS:,} or more are better")
    counts = ", ".join(f"{len(rows.only(p).queries):,} to {p}" for p in (TRAIN, CALIBRATE, TEST))
    progress(f"fit: {len(rows.queries):,} rows: {counts}; {len(log):,} texts without scores")
    with tempfile.TemporaryDirectory(dir=plan.output.resolve().parent, prefix=".fit-") as scratch:
        return _Fit(plan, Path(scratch), rows, progress).run(log, facts, agreed)


class _Fit:
    """One run, with what every step needs."""

    def __init__(self, plan: FitPlan, scratch: Path, rows: Rows, progress: Progress) -> None:
        self.plan, self.scratch, self.progress = plan, scratch, progress
        self.rows, self.train = rows, rows.only(TRAIN)
        self.today = Router.open(plan.router)

    def run(self, log: Sequence[str], facts: dict[str, Any], agreed: Agreement | None) -> Fitted:
        held_out = self.rows.only(CALIBRATE, TEST)
        more = self._more_texts(log)
        words = word_features([*self.train.queries, *held_out.queries, *more], [*self.train.queries, *log])
        read = self._read([*self.train.queries, *held_out.queries, *more], words)
        first, last = len(self.train.queries), len(self.train.queries) + len(held_out.queries)
        stack = fit_stack(self.train, read.at(np.arange(first)), read)
        candidates = dict(stack.scores)
        self._compete(candidates)
        chosen = self._choose(candidates)
        self.progress(f"fit: out of fold: {', '.join(f'{k} {v:.3f}' for k, v in candidates.items())}")
        self.progress(f"fit: learning from: {chosen}")
        checkpoint = self._student(chosen, stack, more, first, last)
        artifact = self._exported(checkpoint)
        router = Router.open(artifact)
        margins = cloud_margin(router.logits(self.rows.queries), router.labels.cloud_index)
        scores = {
            FITTED: margins[np.isin(self.rows.part, (CALIBRATE, TEST))],
            ROUTER: read.odds[first:last],
            LENGTH: np.array([len(q) for q in held_out.queries], np.float64),
            WORDS: stack.words_gain[first:last],
        }
        compared = compare(held_out, scores, self.plan.seed)
        recommended, sentence = verdict(compared, ROUTER)
        record = {
            **self._record(chosen, candidates),
            "recommended": recommended,
            "sentence": sentence,
            "judging": facts["judging"],
            "agreement": None if agreed is None else asdict(agreed),
        }
        artifact = self._calibrated(artifact, margins, record)
        p_cloud = served_scores(Router.open(artifact), self.rows.queries)
        return Fitted(
            artifact, self.rows, p_cloud, scores, candidates, chosen, compared, recommended, sentence, facts,
            agreed,
        )  # fmt: skip

    def _exported(self, checkpoint: Path) -> Artifact:
        options = ExportOptions(
            plain=False, measure=False, threads=self.plan.threads, name=self.plan.output.name
        )
        return export(checkpoint, self.scratch / "exported", options, self.progress).artifact

    def _record(self, chosen: str, candidates: dict[str, float]) -> dict[str, Any]:
        """What was learned from what, for the artifact's provenance."""
        return {
            "learned": chosen,
            "out_of_fold_apgr": {name: round(value, 4) for name, value in candidates.items()},
            "rows": {p: len(self.rows.only(p).queries) for p in (TRAIN, CALIBRATE, TEST)},
            "group": self.plan.group,
            "rows_sha256": self.rows.dataset.sha256,
        }

    def _more_texts(self, log: Sequence[str]) -> list[str]:
        """Texts that the student hears its teacher on: the log, parts of texts, the shipped ones."""
        rng, most = np.random.default_rng(self.plan.seed), self.plan.texts
        own = [log[at] for at in rng.permutation(len(log))[:most]]
        shipped = [*project_queries(), *calibration_queries()]
        parts = crops([*self.train.queries, *own], _CROPS, self.plan.seed)[: max(0, most - len(own))]
        # The log decides: what ships is at most a fourth of what the student hears of it.
        few = (len(self.train.queries) + len(own) + len(parts)) // 4
        shipped = [shipped[at] for at in rng.permutation(len(shipped))[:few]]
        return list(dict.fromkeys([*own, *parts, *shipped]))

    def _read(self, texts: Sequence[str], words: Any) -> Texts:
        cache = self.plan.work / "cache"
        limits = {"max_tokens": 128, "batch_tokens": 8192}
        vectors = embed(texts, shipped_encoder(), cache, **limits, progress=self.progress).astype(np.float32)
        odds = cloud_margin(self.today.logits(texts), self.today.labels.cloud_index)
        return Texts(words, vectors, odds)

    def _compete(self, candidates: dict[str, float]) -> None:
        """Fine-tuned models under the same folds; one that falls behind after a fold drops out."""
        folds, rows = folds_of(self.train.queries), self.train
        target = (rows.gain > 0).astype(np.float64)
        for part in (HEAD, LAST, ALL):
            name, margins, seen = f"fine-tuning, {part}", np.zeros(len(folds)), np.zeros(len(folds), np.bool_)
            for fold in np.unique(folds):
                learning, asking = folds != fold, folds == fold
                queries = [q for q, keep in zip(rows.queries, learning, strict=True) if keep]
                asked = [q for q, keep in zip(rows.queries, asking, strict=True) if keep]
                directory = self.scratch / f"{part}-{fold}"
                how = Training(self.plan.base, TUNE, part, self.plan.seed)
                trained = learn(how, queries, target[learning], directory, _quiet)
                margins[asking], seen = trained.margins(asked), seen | asking
                shutil.rmtree(directory, ignore_errors=True)
                candidates[name] = _apgr(margins, rows, seen)
                if candidates[name] < candidates["stack"] - _AHEAD:
                    break

    def _choose(self, candidates: dict[str, float]) -> str:
        """The stack, unless a fine-tuned model is clearly better out of fold."""
        tuned = {name: score for name, score in candidates.items() if name.startswith("fine-tuning")}
        best = max(tuned, key=lambda name: tuned[name])
        return best if tuned[best] > candidates["stack"] + _AHEAD else "stack"

    def _student(self, chosen: str, stack: Stack, more: Sequence[str], first: int, last: int) -> Path:
        if chosen == "stack":
            gain = np.concatenate([stack.gain[:first], stack.gain[last:]])
            queries, wanted = [*self.train.queries, *more], teacher_targets(gain, first)
            schedule, part = DISTIL, ALL
        else:
            queries, wanted = list(self.train.queries), (self.train.gain > 0).astype(np.float64)
            schedule, part = TUNE, chosen.removeprefix("fine-tuning, ")
        how = Training(self.plan.base, schedule, part, self.plan.seed)
        trained = learn(how, queries, wanted, self.scratch / "student", self.progress)
        record = {
            "fit": chosen,
            "texts": len(queries),
            "rows": len(self.train.queries),
            SKETCH: row_sketch(queries),
        }
        return trained.save(self.scratch / "checkpoint", self.plan.base, record)

    def _calibrated(self, artifact: Artifact, margins: Floats, record: dict[str, Any]) -> Artifact:
        """The artifact at the output, with probabilities that are honest on the rows to calibrate."""
        chosen = self.rows.part == CALIBRATE
        rows = self.rows.only(CALIBRATE)
        target, weight = (rows.gain > 0).astype(np.float64), rows.weight / rows.weight.mean()
        try:
            calibration = fit_calibration(margins[chosen], target, "platt", rows.dataset.sha256, weight)
        except DataError as error:
            raise TrainingError(
                f"nothing was learned that holds on the rows to calibrate: {error} Keep today's router; "
                "judge more rows, or look at them: do the verdicts depend on the query at all?"
            ) from None
        held = self.rows.only(CALIBRATE, TEST)
        p_cloud = 1.0 / (1.0 + np.exp(-(calibration.a * margins + calibration.b)))
        kept = np.isin(self.rows.part, (CALIBRATE, TEST))
        data = held.dataset
        curve = held_out_curve(p_cloud[kept], data, data.sha256, rows.queries)
        provenance = {**artifact.manifest.provenance, "fit": record}
        artifact = replace(artifact, manifest=replace(artifact.manifest, provenance=provenance))
        return store(artifact, self.plan.output, calibration, None, curve)


def _apgr(margins: Floats, rows: Rows, seen: Any) -> float:
    return apgr(cost_quality_curve(margins[seen], rows.weak[seen], rows.strong[seen], rows.weight[seen]))


def _quiet(line: str) -> None:
    """Progress of a run that competes is not shown."""
