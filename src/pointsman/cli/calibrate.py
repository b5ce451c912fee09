"""Calibrate a router's probabilities, and choose its threshold, on held-out queries of your own.

DATA are JSON lines, JSON, CSV, Parquet or Arrow files with a column `query` and `label`, or `weak_score` and
`strong_score`.
With them p_cloud is fitted (--method platt or temperature; --method none keeps it). One of --share,
--quality and --budget also chooses the cloud threshold: the share of queries that go to the cloud, the part
of the cloud model's lead that is recovered, or the mean price of a query. The confidence rule is then off,
unless --confidence-threshold gives one; the share that is told is the share that is served. With --method
none the labels may be missing for --share and --budget; without any of the three only the curve over the
queries is stored.

ROUTER is an artifact: the result is a new one at --output, with the digest of the data and the curve in it.
Or it is a checkpoint directory: calibration.json is written into it, and `pointsman export` takes it
along. With --recipe and --data the data are what the recipe holds out, measured and ruled; each of both kinds
counts by the root of its size.

Example: pointsman calibrate my-artifact held-out.csv --share 0.3 --output my-artifact-30
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pointsman.cli.data_flags import add_data_flags, columns_of
from pointsman.cli.deprecated import add_renamed_flag
from pointsman.cli.parsing import number
from pointsman.cli.policy_flags import add_price_flags

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pointsman.artifact.manifest import Calibration, Chat
    from pointsman.datasets.outcomes import Dataset
    from pointsman.evaluation.threshold import ThresholdChoice, ThresholdGoal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("router", type=Path, help="artifact or checkpoint directory")
    parser.add_argument("data", type=Path, nargs="*", help="files of held-out queries")
    add_data_flags(parser)
    parser.add_argument("--recipe", type=Path, help="take what the recipe holds out as the data")
    add_renamed_flag(
        parser,
        "--data",
        "--data-directory",
        dest="recipe_data",
        type=Path,
        help="directory that the recipe's globs start from",
    )
    parser.add_argument("--output", type=Path, help="the new artifact (not for a checkpoint)")
    parser.add_argument(
        "--method",
        choices=("platt", "temperature", "none"),
        default="platt",
        help="default: platt",
    )
    parser.add_argument("--share", type=number(0, 1), help="share of queries for the cloud, 0..1")
    parser.add_argument(
        "--quality", type=number(0, 1), help="share of the cloud model's lead to recover, 0..1"
    )
    parser.add_argument("--budget", type=number(), help="mean price of a query, in the unit of the prices")
    add_price_flags(parser)
    parser.add_argument(
        "--confidence-threshold", help="keep this rule beside the chosen threshold, 0..1 (default: off)"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> int:
    from pointsman.artifact.layout import MANIFEST

    goal = _goal(args)
    is_checkpoint = (args.router / "config.json").is_file() and not (args.router / MANIFEST).is_file()
    result = _checkpoint(args, goal) if is_checkpoint else _artifact(args, goal)
    if args.json:
        print(json.dumps(result, indent=2))
    else:
        for name, value in result.items():
            print(f"{name}: {value:.4f}" if isinstance(value, float) else f"{name}: {value}")
    return 0


def _goal(args: argparse.Namespace) -> "ThresholdGoal | None":
    from pointsman.errors import SettingsError
    from pointsman.evaluation.threshold import ThresholdGoal
    from pointsman.settings import Settings

    if args.share is None and args.quality is None and args.budget is None:
        if args.confidence_threshold is not None:
            raise SettingsError("--confidence-threshold: belongs to one of --share, --quality and --budget.")
        return None
    return ThresholdGoal(
        args.share,
        args.quality,
        args.budget,
        args.price_local,
        args.price_cloud,
        Settings().overruled(confidence_threshold=args.confidence_threshold).confidence_threshold,
    )


def _artifact(args: argparse.Namespace, goal: "ThresholdGoal | None") -> dict[str, object]:
    from pointsman.artifact.address import open_artifact
    from pointsman.artifact.store import require_place
    from pointsman.errors import SettingsError
    from pointsman.evaluation.calibration import cloud_margin
    from pointsman.evaluation.quality import is_unread, served_scores
    from pointsman.evaluation.threshold import choose, held_out_curve, store
    from pointsman.runtime.probability import cloud_probability
    from pointsman.runtime.router import Router

    if args.output is None:
        raise SettingsError("--output: an artifact is never changed; say where the new one goes.")
    require_place(args.output)
    artifact = open_artifact(args.router)
    router = Router.open(artifact)
    queries, data, sha256 = _read(args, artifact.manifest.chat)
    logits = router.logits(queries)
    calibration = artifact.manifest.calibration
    fitted: Calibration | None = None
    if args.method != "none":
        fitted = calibration = _fitted(args, cloud_margin(logits, router.labels.cloud_index), data, sha256)
    policy = artifact.manifest.policy
    p_cloud = cloud_probability(logits, router.labels.cloud_index, calibration)
    score = served_scores(p_cloud, is_unread(router.encode(queries)), policy)
    choice = None if goal is None else choose(goal, score, data, sha256, policy)
    stored = store(artifact, args.output, fitted, choice, held_out_curve(score, data, sha256, queries))
    return {"artifact": str(stored.path), **_told(fitted, choice)}


def _checkpoint(args: argparse.Namespace, goal: "ThresholdGoal | None") -> dict[str, object]:
    from dataclasses import asdict

    from pointsman.checkpoint.calibration import CALIBRATION
    from pointsman.errors import SettingsError
    from pointsman.evaluation.calibration import cloud_margin
    from pointsman.evaluation.threshold import CURVE, held_out_curve
    from pointsman.runtime.probability import cloud_probability
    from pointsman.train.scoring import CheckpointScorer
    from pointsman.train.state import write_json

    if goal is not None or args.output is not None:
        raise SettingsError(
            f"{args.router} is a checkpoint: it takes a calibration only. "
            "Thresholds belong to an artifact: export it first."
        )
    scorer = CheckpointScorer(args.router)
    if args.method == "none" and scorer.calibration is None:
        raise SettingsError(f"--method none: {args.router} has no calibration to keep.")
    queries, data, sha256 = _read(args, scorer.chat)
    print(f"reading {len(queries):,} queries", file=sys.stderr, flush=True)
    logits = scorer.logits(queries)
    fitted = scorer.calibration
    if fitted is None or args.method != "none":
        fitted = _fitted(args, cloud_margin(logits, scorer.labels.cloud_index), data, sha256)
    p_cloud = cloud_probability(logits, scorer.labels.cloud_index, fitted)
    write_json(
        args.router / CALIBRATION, {**asdict(fitted), CURVE: held_out_curve(p_cloud, data, sha256, queries)}
    )
    return {"checkpoint": str(args.router), **_told(fitted, None)}


def _fitted(
    args: argparse.Namespace, margin: "NDArray[np.float64]", data: "Dataset", sha256: str
) -> "Calibration":
    from pointsman.errors import DataError
    from pointsman.evaluation.calibration import fit_calibration

    if not data.has_outcomes:
        raise DataError("p_cloud is fitted on labels, and there are none: add them, or say --method none.")
    weight = None if data.weight is None else data.weight / data.weight.mean()
    return fit_calibration(margin, data.is_cloud.astype(float), args.method, sha256, weight)


def _read(args: argparse.Namespace, chat: "Chat") -> "tuple[tuple[str, ...], Dataset, str]":
    """Queries, their outcomes where every row could have one, and a digest of both."""
    import numpy as np

    from pointsman.datasets.outcomes import Dataset, read_dataset, weights_of
    from pointsman.datasets.reading import read_queries
    from pointsman.errors import SettingsError

    columns = replace(columns_of(args), chat=chat)
    if bool(args.data) == bool(args.recipe):
        raise SettingsError("give data files, or --recipe with --data.")
    if args.recipe is not None:
        if args.recipe_data is None:
            raise SettingsError("--recipe needs --data, where its globs start.")
        from pointsman.train.suite import validation_dataset  # its packages are an extra

        data = validation_dataset(args.recipe, args.recipe_data, columns)
        return data.queries, data, data.sha256
    if args.method == "none" and (args.share is not None or args.budget is not None):
        queries, sha256, rows = read_queries(args.data, columns)
        _warn_few(len(queries))
        nothing = np.full(len(queries), np.nan)
        group, weight = np.zeros(len(queries), np.str_), weights_of(rows)
        return queries, Dataset(queries, group, nothing, nothing, weight=weight), sha256
    data = read_dataset(args.data, columns)
    for bad in data.bad[:20]:
        print(f"bad row {bad}", file=sys.stderr)
    if data.bad:
        print(f"{len(data.bad)} bad rows left out", file=sys.stderr)
    _warn_few(len(data.queries))
    return data.queries, data, data.sha256


def _warn_few(rows: int) -> None:
    from pointsman.datasets.outcomes import check_count

    if warning := check_count(rows, "calibrate on"):
        print(warning, file=sys.stderr)


def _told(fitted: "Calibration | None", choice: "ThresholdChoice | None") -> dict[str, object]:
    told: dict[str, object] = {}
    if fitted is not None:
        told |= {"method": fitted.method, "a": fitted.a, "b": fitted.b, "rows": fitted.n}
    if choice is not None:
        effective = choice.policy.effective_threshold
        told |= {"cloud_threshold": choice.threshold, "effective_threshold": effective, "share": choice.share}
        if choice.quality is not None:
            told["quality"] = choice.quality
    return told
