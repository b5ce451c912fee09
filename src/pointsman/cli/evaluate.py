"""Measure how well a router routes: ranking, cost against quality, calibration, everyday traffic, edits.

ROUTER is an artifact, or a checkpoint directory (that needs the train extra). What it is tested on is
either your own files (--test: JSON lines, JSON, CSV, Parquet or Arrow with `query` and `label`, or
`weak_score` and `strong_score`), or a suite file in the format of a recipe (--suite, with --data).

With --recipe (every recipe that the router was trained by) the baselines learn from the same measured
outcomes as the router, test texts that are near duplicates of a training text are left out and counted, and
the report says of every slice whether its source was seen. --compare puts others beside it, with the
difference on the same rows: a variant of the artifact, or NAME=DIRECTORY for any artifact or classifier's
checkpoint. OUTPUT gets evaluation.json, README.md and plots.

Example: pointsman evaluate my-artifact --test held-out.csv --output report
"""

import argparse
import shlex
import sys
from pathlib import Path

from pointsman.cli.data_flags import add_data_flags, columns_of
from pointsman.cli.parsing import whole
from pointsman.cli.policy_flags import add_policy_flags, add_price_flags, settings_of
from pointsman.progress import tell


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("router", type=Path, help="artifact or checkpoint directory")
    parser.add_argument("--test", type=Path, nargs="+", default=[], help="files of labelled queries")
    parser.add_argument("--suite", type=Path, help="TOML file that names sets and slices under --data")
    parser.add_argument("--data", type=Path, help="directory that the globs of suite and recipe start from")
    parser.add_argument(
        "--recipe",
        type=Path,
        nargs="+",
        default=[],
        help="what the router was trained on; adds trained baselines",
    )
    add_data_flags(parser)
    parser.add_argument("--output", type=Path, required=True, help="directory for the report")
    parser.add_argument("--name", help="name of the router in the report (default: its directory's)")
    parser.add_argument("--variant", help="variant of the artifact: int8, folded, plain, fp16")
    parser.add_argument(
        "--compare", nargs="+", default=[], help="routers to compare with: variants, or NAME=DIRECTORY"
    )
    parser.add_argument("--cache", type=Path, help="directory of teacher outputs (default: OUTPUT/.cache)")
    add_policy_flags(parser)
    add_price_flags(parser)
    parser.add_argument(
        "--edits", type=whole(0), default=1000, help="queries to edit (default: 1000; 0: none)"
    )
    parser.add_argument(
        "--resamples", type=whole(1), default=1000, help="bootstrap resamples (default: 1000)"
    )
    parser.add_argument("--seed", type=whole(0), default=0, help="of every random draw (default: 0)")
    parser.add_argument("--no-plots", action="store_true", help="tables and JSON only")


def run(args: argparse.Namespace) -> int:
    from pointsman.errors import SettingsError
    from pointsman.train.evaluate import EvaluationPlan, evaluate

    if bool(args.test) == bool(args.suite):
        raise SettingsError("give either --test FILES or --suite FILE.")
    if (args.suite or args.recipe) and args.data is None:
        raise SettingsError("--suite and --recipe need --data, the directory that their globs start from.")

    shown = [word for word in sys.argv[1:] if word != "evaluate"]
    plan = EvaluationPlan(
        router=args.router,
        output=args.output,
        command=f"pointsman evaluate {shlex.join(shown)}",
        name=args.name or args.router.resolve().name,
        test=tuple(args.test),
        columns=columns_of(args),
        suite=args.suite,
        data=args.data,
        recipe=tuple(args.recipe),
        variant=args.variant,
        compare=tuple(args.compare),
        cache=args.cache,
        settings=settings_of(args),
        price_local=args.price_local,
        price_cloud=args.price_cloud,
        edits=args.edits,
        resamples=args.resamples,
        seed=args.seed,
        plots=not args.no_plots,
    )
    print(evaluate(plan, tell))
    return 0
