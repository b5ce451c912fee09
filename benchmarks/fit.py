"""What `pointsman fit` makes of 400 scored rows, against its base and against ridges on the same rows.

    python -m benchmarks.fit DATA RESULTS --family routellm_mmlu --seeds 0 1 2 [--base DIR --router DIR]

DATA holds JSONL files of `query`, `weak_model`, `weak_score`, `strong_score`. A family is one file, or one
weak model of it. 400 of its rows have scores, 1,000 more are text without scores, the rest tests. Every
finished run is a line of RESULTS; a run that is there is not made again.
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from pointsman.artifact.address import open_artifact, shipped_artifact
from pointsman.evaluation.calibration import cloud_margin
from pointsman.evaluation.curve import apgr, cost_quality_curve
from pointsman.fit.run import FitPlan, fit
from pointsman.fit.stack import word_features
from pointsman.runtime.router import Router
from pointsman.traffic.log import query_id
from pointsman.traffic.work import Query, Work
from pointsman.train.teacher import embed, shipped_encoder

Row = dict[str, Any]
LABELLED, UNLABELLED, MOST_TESTED = 400, 1000, 3000


def family_rows(data: Path, family: str) -> list[Row]:
    """Distinct queries of a family, `file` or `file:weak model`."""
    name, _, weak = family.partition(":")
    rows: dict[str, Row] = {}
    for line in (data / f"{name}.jsonl").read_text(encoding="utf-8").split("\n"):
        if not line:
            continue
        row = json.loads(line)
        if not weak or row["weak_model"] == weak:
            rows.setdefault(row["query"], row)
    return list(rows.values())


def fill(directory: Path, rows: list[Row]) -> None:
    """A work folder as `collect` and `judge` leave it, without a call."""
    with Work.open(directory, create=True) as work, work.transaction():
        for at, row in enumerate(rows):
            messages = [{"role": "user", "content": row["query"]}]
            weight = 1.0 if at < LABELLED else None
            work.add_queries([Query(query_id(messages), row["query"], messages, {}, 1, weight)])
            if at < LABELLED:
                work.judge(query_id(messages), row["weak_score"], row["strong_score"], {"by": "benchmark"})


def run_once(args: argparse.Namespace, family: str, seed: int) -> Row:
    rows = family_rows(args.data, family)
    order = np.random.default_rng(seed).permutation(len(rows))
    rows = [rows[at] for at in order]
    known, tested = rows[:LABELLED], rows[LABELLED + UNLABELLED :][:MOST_TESTED]
    with tempfile.TemporaryDirectory() as place:
        work = Path(place) / "work"
        fill(work, rows[: LABELLED + UNLABELLED])
        began, cpu = time.perf_counter(), time.process_time()
        plan = FitPlan(work, Path(place) / "router", args.base, args.router, threads=args.threads, seed=seed)
        fitted = fit(plan, lambda line: None)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        scores = {"fitted": margins(Router.open(fitted.artifact), tested)}
    scores["base"] = margins(Router.open(open_artifact(args.router or shipped_artifact())), tested)
    scores["query length"] = np.array([len(row["query"]) for row in tested], np.float64)
    scores |= ridges(known, tested, args.cache)
    weak, strong = (np.array([row[k] for row in tested]) for k in ("weak_score", "strong_score"))
    return {
        "name": args.name,
        "family": family,
        "seed": seed,
        "tested": len(tested),
        "apgr": {name: apgr(cost_quality_curve(s, weak, strong)) for name, s in scores.items()},
        "learned": fitted.chosen,
        "out_of_fold": fitted.candidates,
        "recommended": fitted.recommended,
        "seconds": seconds,
        "cpu_seconds": cpu,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def margins(router: Router, rows: list[Row]) -> NDArray[Any]:
    return cloud_margin(router.logits([row["query"] for row in rows]), router.labels.cloud_index)


def ridges(known: list[Row], tested: list[Row], cache: Path) -> dict[str, NDArray[Any]]:
    """The two small models that a reader would try first, on all 400 rows, strength 1."""
    texts = [row["query"] for row in [*known, *tested]]
    gain = np.array([row["strong_score"] - row["weak_score"] for row in known])
    vectors = embed(
        texts, shipped_encoder(), cache, max_tokens=128, batch_tokens=8192, progress=lambda line: None
    )
    found = {}
    words = word_features(texts, texts[: len(known)])
    for name, x in (("word ridge", words), ("MiniLM ridge", vectors.astype(np.float32))):
        found[name] = Ridge(alpha=1.0).fit(x[: len(known)], gain).predict(x[len(known) :])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--family", nargs="+", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--base", type=Path, default=Path("checkpoints/default-router"))
    parser.add_argument("--router", type=Path)
    parser.add_argument("--name", default="shipped base")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "fit-cache")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    lines = args.results.read_text(encoding="utf-8").splitlines() if args.results.is_file() else []
    done = {(row["name"], row["family"], row["seed"]) for row in map(json.loads, lines)}
    for seed in args.seeds:
        for family in args.family:
            if (args.name, family, seed) in done:
                continue
            row = run_once(args, family, seed)
            with args.results.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
