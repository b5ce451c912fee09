"""What `pointsman fit` makes of 400 scored rows, against its base and against ridges on the same rows.

    python -m benchmarks.fit run DATA RESULTS --family routellm_mmlu a+b --seeds 0 1 [--base DIR --router DIR]
    python -m benchmarks.fit record RESULTS

DATA holds JSONL files of `query`, `weak_model`, `weak_score`, `strong_score`. A family is one file, or one
weak model of it, `file:model`; with `+`, as many rows of each. 400 rows have scores, and up to 2,000 others
are the test. With `--sampled` the 400 are those that `collect --sample` takes from a log of 1,400. With
`--flipped 0.2` a fifth of the 400 verdicts are turned round, and only the comparison is made. Every finished
run is a line of RESULTS; a run that is there is not made again. `record` writes the figures that
docs/from-traffic-to-router.md shows.
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.figures import Figure, record
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge

from pointsman.artifact.address import open_artifact, shipped_artifact
from pointsman.bench.environment import capture_environment
from pointsman.errors import TrainingError
from pointsman.evaluation.calibration import cloud_margin
from pointsman.evaluation.curve import apgr, cost_quality_curve
from pointsman.fit.comparison import FITTED, LENGTH, ROUTER
from pointsman.fit.reading import Base
from pointsman.fit.rows import read_rows
from pointsman.fit.run import FitPlan, Fitted, Learned, fit, learn
from pointsman.runtime.router import Router
from pointsman.traffic.log import query_id
from pointsman.traffic.sampling import inclusion, spread_sample
from pointsman.traffic.work import Query, Work
from pointsman.train.teacher import embed, shipped_encoder

Row = dict[str, Any]
LABELLED, LOG, MOST_TESTED = 400, 1400, 2000
NAMES = ("unseen", "seen", "sampled", "flipped")
WORD_RIDGE, VECTOR_RIDGE, BASE = "word ridge", "MiniLM ridge", "base"


def family_rows(data: Path, family: str) -> list[Row]:
    """Distinct queries of a family; of a mixture, as many of each part as the smallest has."""
    parts = [_part_rows(data, part) for part in family.split("+")]
    return [row for part in parts for row in part[: min(map(len, parts))]]


def _part_rows(data: Path, family: str) -> list[Row]:
    name, _, weak = family.partition(":")
    rows: dict[str, Row] = {}
    for line in (data / f"{name}.jsonl").read_text(encoding="utf-8").split("\n"):
        row = json.loads(line) if line else {}
        if row and (not weak or row["weak_model"] == weak):
            rows.setdefault(row["query"], row)
    return list(rows.values())


def fill(directory: Path, rows: Sequence[Row]) -> None:
    """A work folder as `collect` and `judge` leave it, without a call."""
    with Work.open(directory, create=True) as work, work.transaction():
        for row in rows:
            messages = [{"role": "user", "content": row["query"]}]
            weight = row.get("weight", 1.0)
            work.add_queries([Query(query_id(messages), row["query"], messages, {}, 1, weight)])
            work.judge(query_id(messages), row["weak_score"], row["strong_score"], {"by": "benchmark"})


def drawn(
    args: argparse.Namespace, rows: list[Row], seed: int, router: Router
) -> tuple[list[Row], list[Row]]:
    """The rows with scores, and those to test on."""
    order = np.random.default_rng(seed).permutation(len(rows))
    rows = [rows[at] for at in order]
    if args.sampled:
        log, tested = rows[:LOG], rows[LOG:]
        decisions = router.route_many([row["query"] for row in log])
        p_cloud = np.array([decision.p_cloud for decision in decisions])
        share = inclusion(p_cloud, router.policy.cloud_threshold, np.ones(len(log)), LABELLED)
        chosen = spread_sample(vectors_of(log, args.cache), share, seed)
        known = [{**log[at], "weight": 1.0 / share[at]} for at in chosen]
    else:
        known, tested = rows[:LABELLED], rows[LABELLED:]
    turned = np.random.default_rng(seed).random(len(known)) < args.flipped
    known = [
        {**row, "weak_score": row["strong_score"], "strong_score": row["weak_score"]} if turn else row
        for row, turn in zip(known, turned, strict=True)
    ]
    return known, tested[:MOST_TESTED]


def run_once(args: argparse.Namespace, family: str, seed: int) -> Row:
    """One run, as a line of the results."""
    today = Router.open(open_artifact(args.router or shipped_artifact()))
    known, tested = drawn(args, family_rows(args.data, family), seed, today)
    row: Row = {"name": args.name, "family": family, "seed": seed, "tested": len(tested)}
    learned: Learned | None = None
    with tempfile.TemporaryDirectory() as place:
        work = Path(place) / "work"
        fill(work, known)
        began, cpu = time.perf_counter(), time.process_time()
        if args.flipped:
            base = Base(args.base)
            with Work.open(work) as opened:
                learned = learn(base, today, read_rows(opened), seed)
            fitted = learned.fit.change.margins(base.read([row["query"] for row in tested]))
        else:
            plan = FitPlan(
                work, Path(place) / "router", args.base, args.router, threads=args.threads, seed=seed
            )
            made = _fitted(plan)
            row |= {"refused": made is None}
        row |= {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu}
        row["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        if not args.flipped:
            fitted = margins(today if made is None else Router.open(made.artifact), tested)
            if made is not None:
                learned = made.learned
                row |= {"recommended": made.recommended, "sentence": made.sentence}
    scores = {FITTED: fitted, BASE: margins(today, tested)}
    scores[LENGTH] = np.array([len(row["query"]) for row in tested], np.float64)
    scores |= ridges(known, tested, args.cache)
    weak, strong = (np.array([row[k] for row in tested]) for k in ("weak_score", "strong_score"))
    row["apgr"] = {name: apgr(cost_quality_curve(s, weak, strong)) for name, s in scores.items()}
    if learned is not None:
        row["from_words"] = learned.fit.from_words
        row["compared"] = {name: asdict(one) for name, one in learned.compared.items()}
    return row


def _fitted(plan: FitPlan) -> Fitted | None:
    """What `fit` made; None where it says that nothing was learned, and today's router stays."""
    try:
        return fit(plan, lambda line: None)
    except TrainingError:
        return None


def margins(router: Router, rows: list[Row]) -> NDArray[Any]:
    return cloud_margin(router.logits([row["query"] for row in rows]), router.labels.cloud_index)


def vectors_of(rows: list[Row], cache: Path) -> NDArray[np.float32]:
    """The sentence encoder's vectors, float32 (rows, width)."""
    limits = {"max_tokens": 128, "batch_tokens": 8192}
    texts = [row["query"] for row in rows]
    return embed(texts, shipped_encoder(), cache, **limits, progress=lambda line: None).astype(np.float32)


def ridges(known: list[Row], tested: list[Row], cache: Path) -> dict[str, NDArray[Any]]:
    """The two small models that a reader would try first, on all 400 rows, strength 1."""
    gain = np.array([row["strong_score"] - row["weak_score"] for row in known])
    texts = [row["query"] for row in [*known, *tested]]
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True).fit(texts[: len(known)])
    found = {}
    for name, x in (
        (WORD_RIDGE, words.transform(texts)),
        (VECTOR_RIDGE, vectors_of([*known, *tested], cache)),
    ):
        found[name] = Ridge(alpha=1.0).fit(x[: len(known)], gain).predict(x[len(known) :])
    return found


def _leads(rows: Sequence[Row], over: Sequence[str]) -> NDArray[np.float64]:
    """The exported file's APGR less the best of others, float64 (runs,)."""
    return np.array([row["apgr"][FITTED] - max(row["apgr"][name] for name in over) for row in rows])


def _paired(rows: Sequence[Row], others: Sequence[Row]) -> NDArray[np.float64]:
    """APGR of runs less that of other runs of the same family and seed, float64 (pairs,)."""
    known = {(row["family"], row["seed"]): row["apgr"][FITTED] for row in others}
    at = [(row["apgr"][FITTED], known.get((row["family"], row["seed"]))) for row in rows]
    return np.array([ours - theirs for ours, theirs in at if theirs is not None])


def _misled(row: Row) -> bool:
    """Whether the comparison is sure of an order that the clean test rows contradict."""
    truth = row["apgr"]
    names = {ROUTER: BASE, LENGTH: LENGTH}
    return any(
        (row["compared"][said]["lead"]["low"] > 0.0 and truth[FITTED] < truth[name])
        or (row["compared"][said]["lead"]["high"] < 0.0 and truth[FITTED] > truth[name])
        for said, name in names.items()
    )


def figures_of(rows: Sequence[Row]) -> list[Figure]:
    """The table of the page."""
    unseen, seen, sampled, flipped = ([row for row in rows if row["name"] == name] for name in NAMES)
    made = []

    def lead(what: str, values: NDArray[np.float64], mean_aim: str, least_aim: str) -> None:
        if len(values):
            made.append(Figure(f"{what}: mean of {len(values)} runs", f"{values.mean():+.3f}", aim=mean_aim))
            made.append(Figure(f"{what}: lowest", f"{values.min():+.3f}", aim=least_aim))

    lead("base that saw no outcomes: APGR over the base", _leads(unseen, [BASE]), ">= +.05", "")
    best = [WORD_RIDGE, VECTOR_RIDGE, BASE]
    lead(
        "the same: over the best of word ridge, MiniLM ridge, base",
        _leads(unseen, best),
        ">= +.01",
        ">= -.005",
    )
    for family in dict.fromkeys(row["family"] for row in unseen):
        own = [row for row in unseen if row["family"] == family]
        mean = {name: np.mean([row["apgr"][name] for row in own]) for name in (FITTED, *best, LENGTH)}
        shown = ", ".join(f"{name} {value:.3f}" for name, value in mean.items())
        made.append(Figure(f"APGR on `{family}`, {len(own)} seeds", shown))
    lead("families that the shipped router saw: over it", _leads(seen, [BASE]), "", ">= -.005")
    lead("400 rows by `--sample` over 400 random rows", _paired(sampled, unseen), "> 0", ">= -.01")
    if flipped:
        misled = sum(map(_misled, flipped))
        what = "20 % of the verdicts turned round: runs whose comparison is sure of a wrong order"
        made.append(Figure(what, f"{misled} of {len(flipped)}", aim="<= 1 of 10"))
    fits = [row for row in rows if row["name"] != "flipped"]
    slowest, largest = (max(row[key] for row in fits) for key in ("seconds", "peak_mib"))
    made.append(
        Figure("400 rows, two cores shared with other work: longest fit", slowest / 60, "min", "<= 5 min")
    )
    made.append(Figure("the same: most memory", largest, "MiB", "<= 2,048 MiB"))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = parser.add_subparsers(dest="part", required=True)
    run = parts.add_parser("run")
    run.add_argument("data", type=Path)
    run.add_argument("results", type=Path)
    run.add_argument("--family", nargs="+", required=True)
    run.add_argument("--seeds", type=int, nargs="+", default=[0])
    run.add_argument("--base", type=Path, default=Path("checkpoints/default-router"))
    run.add_argument("--router", type=Path)
    run.add_argument("--name", choices=NAMES, required=True)
    run.add_argument("--sampled", action="store_true")
    run.add_argument("--flipped", type=float, default=0.0)
    run.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "fit-cache")
    run.add_argument("--threads", type=int, default=2)
    parts.add_parser("record").add_argument("results", type=Path)
    args = parser.parse_args()
    lines = args.results.read_text(encoding="utf-8").splitlines() if args.results.is_file() else []
    known = [json.loads(line) for line in lines]
    if args.part == "record":
        record("fit", "python -m benchmarks.fit run", figures_of(known), capture_environment())
        return
    done = {(row["name"], row["family"], row["seed"]) for row in known}
    for seed in args.seeds:
        for family in args.family:
            if (args.name, family, seed) not in done:
                row = run_once(args, family, seed)
                with args.results.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(row) + "\n")
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
