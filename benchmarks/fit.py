"""What `pointsman fit` makes of 400 scored rows, against its base and against ridges on the same rows.

    python -m benchmarks.fit run DATA RESULTS --family routellm_mmlu a+b --seeds 0 1 [--base DIR --router DIR]
    python -m benchmarks.fit record RESULTS

DATA holds JSONL files of `query`, `weak_model`, `weak_score`, `strong_score`. A family is one file, or one
weak model of it, `file:model`, 2,400 rows at most; with `+`, as many rows of each. 400 rows have scores, and
up to 2,000 others are the test. Where `fit` refuses the rows, today's router counts. With `--sampled` the 400
are those that `collect --sample` takes from the first 1,400. With `--flipped 0.2` a fifth of the 400 verdicts
are turned round.

The file that `fit` exports is the base's own int8 network, its margin times a factor, and word experts. So a
run asks the base's int8 file once for all draws, and adds what was learned. With `--export` it is the whole
command that runs, and its file that is asked: this measures time and memory, and that the sum is the file's.

For families that the shipped router has seen, DATA has to be rows that it was not trained on: of those that
it was, it knows the outcomes by heart. Every finished run is a line of RESULTS; a run that is there is not
made again. `record` writes the figures that docs/from-traffic-to-router.md shows.
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Mapping, Sequence
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
from pointsman.datasets.duplicates import hash_fraction
from pointsman.errors import TrainingError
from pointsman.evaluation.calibration import cloud_margin
from pointsman.evaluation.curve import apgr, cost_quality_curve
from pointsman.fit.comparison import FITTED, LENGTH, ROUTER, verdict
from pointsman.fit.reading import Base, Read
from pointsman.fit.rows import read_rows
from pointsman.fit.run import FitPlan, Learned, calibration_of, fit, learn
from pointsman.runtime.probability import cloud_probability
from pointsman.runtime.router import Router
from pointsman.traffic.log import query_id
from pointsman.traffic.sampling import inclusion, spread_sample
from pointsman.traffic.work import Query, Work
from pointsman.train.teacher import Reading, embed, shipped_encoder

Row = dict[str, Any]
LABELLED, LOG, MOST_TESTED, POOL = 400, 1400, 2000, 2400
LOST = 0.005
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
    return sorted(rows.values(), key=lambda row: hash_fraction(row["query"], "pool"))[:POOL]


def fill(directory: Path, rows: Sequence[Row]) -> None:
    """A work folder as `collect` and `judge` leave it, without a call."""
    with Work.open(directory, create=True) as work, work.transaction():
        for row in rows:
            messages = [{"role": "user", "content": row["query"]}]
            weight = row.get("weight", 1.0)
            work.add_queries([Query(query_id(messages), row["query"], messages, {}, 1, weight)])
            work.judge(query_id(messages), row["weak_score"], row["strong_score"], {"by": "benchmark"})


def drawn(args: argparse.Namespace, rows: list[Row], seed: int, today: Any) -> tuple[list[Row], list[Row]]:
    """The rows with scores, and those to test on."""
    order = np.random.default_rng(seed).permutation(len(rows))
    rows = [rows[at] for at in order]
    if args.sampled:
        log, tested = rows[:LOG], rows[LOG:]
        share = inclusion(today.chances(log), today.threshold, np.ones(len(log)), LABELLED)
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


class ReadOnce(Base):
    """A base that has read every text that any draw asks about."""

    def __init__(self, directory: Path, texts: Sequence[str]) -> None:
        super().__init__(directory)
        self._at = {text: at for at, text in enumerate(texts)}
        self._read = super().read(texts)

    def read(self, texts: Sequence[str]) -> Read:
        return self._read.at(np.array([self._at[text] for text in texts]))


class AskedOnce:
    """A router that has answered every text that any draw asks about; `learn` needs no more of it."""

    def __init__(self, router: Router, texts: Sequence[str]) -> None:
        self.labels = router.labels
        self._at = {text: at for at, text in enumerate(texts)}
        self._logits = router.logits(texts)
        calibration = router.manifest.calibration
        self.p_cloud: NDArray[Any] = cloud_probability(self._logits, self.labels.cloud_index, calibration)
        self.threshold = router.policy.cloud_threshold

    def logits(self, texts: Sequence[str]) -> NDArray[Any]:
        return self._logits[[self._at[text] for text in texts]]

    def chances(self, rows: Sequence[Row]) -> NDArray[Any]:
        """p_cloud of rows, float64 (rows,)."""
        return self.p_cloud[[self._at[row["query"]] for row in rows]]


def run_once(args: argparse.Namespace, family: str, seed: int, base: ReadOnce, today: Any) -> Row:
    """One run, as a line of the results."""
    known, tested = drawn(args, family_rows(args.data, family), seed, today)
    row: Row = {"name": args.name, "family": family, "seed": seed, "tested": len(tested)}
    texts = [row["query"] for row in tested]
    with tempfile.TemporaryDirectory() as place:
        work = Path(place) / "work"
        fill(work, known)
        with Work.open(work) as opened:
            learned = learn(base, today, read_rows(opened), seed)
        margins = margins_of(today, texts)
        change = learned.fit.change
        fitted = change.margins(Read(margins, base.read(texts).words))
        row["refused"] = is_refused(learned)
        if row["refused"]:
            fitted = margins
        is_exported = args.export and not row["refused"]
        if is_exported:
            plan = FitPlan(
                work, Path(place) / "router", args.base, args.router, threads=args.threads, seed=seed
            )
            began = time.perf_counter()
            made = fit(plan, lambda line: None)
            row["seconds"] = time.perf_counter() - began
            row["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            asked = margins_of(Router.open(made.artifact), texts)
    scores = {FITTED: fitted, BASE: margins}
    scores[LENGTH] = np.array([len(text) for text in texts], np.float64)
    scores |= ridges(known, tested, args.cache)
    row["apgr"] = apgr_of(tested, scores)
    if is_exported:
        row["added_apgr"], row["apgr"] = row["apgr"][FITTED], apgr_of(tested, {**scores, FITTED: asked})
    if len(tested) > LOG - LABELLED or args.sampled:
        after = 0 if args.sampled else LOG - LABELLED
        row["after_log"] = apgr_of(tested[after:], {FITTED: fitted[after:]})[FITTED]
    row["recommended"], row["sentence"] = verdict(learned.compared)
    row["from_words"] = learned.fit.from_words
    row["compared"] = {name: asdict(one) for name, one in learned.compared.items()}
    return row


def is_refused(learned: Learned) -> bool:
    """Whether `fit` says that nothing was learned, and today's router stays."""
    try:
        calibration_of(learned)
    except TrainingError:
        return True
    return False


def apgr_of(rows: Sequence[Row], scores: Mapping[str, NDArray[Any]]) -> dict[str, float]:
    weak, strong = (np.array([row[k] for row in rows]) for k in ("weak_score", "strong_score"))
    return {name: apgr(cost_quality_curve(s, weak, strong)) for name, s in scores.items()}


def margins_of(router: Any, texts: Sequence[str]) -> NDArray[Any]:
    return cloud_margin(router.logits(texts), router.labels.cloud_index)


def vectors_of(rows: list[Row], cache: Path) -> NDArray[np.float32]:
    """The sentence encoder's vectors, float32 (rows, width)."""
    reading = Reading(cache, 128, lambda line: None)
    return embed([row["query"] for row in rows], shipped_encoder(), reading).astype(np.float32)


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
    """APGR of runs less that of others of the same family and seed, on the same rows, float64 (pairs,)."""
    known = {(row["family"], row["seed"]): row["after_log"] for row in others}
    at = [(row["after_log"], known.get((row["family"], row["seed"]))) for row in rows]
    return np.array([ours - theirs for ours, theirs in at if theirs is not None])


def _misled(row: Row) -> bool:
    """Whether the comparison is sure of an order that the clean test rows contradict."""
    truth = row["apgr"]
    names = {ROUTER: BASE, LENGTH: LENGTH}
    return not row["refused"] and any(
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
            low = f"; {(values < -LOST).sum()} of {len(values)} lose more than {LOST}"
            made.append(Figure(f"{what}: mean of {len(values)} runs", f"{values.mean():+.3f}", aim=mean_aim))
            made.append(Figure(f"{what}: lowest", f"{values.min():+.3f}{low}", aim=least_aim))

    best = [WORD_RIDGE, VECTOR_RIDGE, BASE]
    lead("base that saw no outcomes: APGR over the base", _leads(unseen, [BASE]), ">= +.05", "")
    lead(
        "the same: over the best of word ridge, MiniLM ridge, base",
        _leads(unseen, best),
        ">= +.01",
        ">= -.005",
    )
    lead("families that the shipped router saw: over it", _leads(seen, [BASE]), "", ">= -.005")
    advised = [row for row in seen if row["recommended"]]
    lead("the same, where `fit` recommends its router", _leads(advised, [BASE]), "", ">= -.005")
    refused = sum(row["refused"] for row in (*unseen, *seen))
    made.append(Figure("runs of both kinds that `fit` refuses", f"{refused} of {len(unseen) + len(seen)}"))
    for part, all_of in ((unseen, "saw no outcomes"), (seen, "saw the family")):
        for family in dict.fromkeys(row["family"] for row in part):
            own = [row for row in part if row["family"] == family]
            mean = {name: np.mean([row["apgr"][name] for row in own]) for name in (FITTED, *best, LENGTH)}
            shown = ", ".join(f"{name} {value:.3f}" for name, value in mean.items())
            made.append(Figure(f"base {all_of}: APGR on `{family}`, {len(own)} seeds", shown))
    lead("400 rows by `--sample` over 400 random rows", _paired(sampled, unseen), "> 0", ">= -.01")
    if flipped:
        misled = sum(map(_misled, flipped))
        what = "20 % of the verdicts turned round: runs whose comparison is sure of a wrong order"
        made.append(Figure(what, f"{misled} of {len(flipped)}", aim="<= 1 of 10"))
    return [*made, *_of_exports([row for row in rows if "seconds" in row])]


def _of_exports(rows: Sequence[Row]) -> list[Figure]:
    """What only the whole command shows: its time, its memory, and that its file is what was added up."""
    slowest, largest = (max(row[key] for row in rows) for key in ("seconds", "peak_mib"))
    apart = max(abs(row["apgr"][FITTED] - row["added_apgr"]) for row in rows)
    return [
        Figure(
            f"APGR of the exported file less that of the sum, {len(rows)} exports: farthest", f"{apart:.5f}"
        ),
        Figure("400 rows, one core shared with other work: longest fit", slowest / 60, "min", "<= 5 min"),
        Figure("the same: most memory", largest, "MiB", "<= 2,048 MiB"),
    ]


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
    run.add_argument("--export", action="store_true")
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
    queries = [row["query"] for family in args.family for row in family_rows(args.data, family)]
    texts = list(dict.fromkeys(queries))
    base = ReadOnce(args.base, texts)
    today = AskedOnce(Router.open(open_artifact(args.router or shipped_artifact())), texts)
    for seed in args.seeds:
        for family in args.family:
            if (args.name, family, seed) not in done:
                row = run_once(args, family, seed, base, today)
                with args.results.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(row) + "\n")
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
