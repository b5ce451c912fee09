"""Distil a teacher and your data into a small MobileBERT router.

A recipe (one TOML file) names the data by globs under --data, the student's depth, the losses and the
schedule. The result is OUTPUT/checkpoint, a Hugging Face directory that `pointsman export` takes. The run
is resumable: after an interrupt the same command continues where it stopped.

Example: pointsman distill recipes/default-router.toml --data path/to/data --output runs/router
"""

import argparse
from pathlib import Path

from pointsman.artifact.address import checkpoint_at
from pointsman.cli.data_flags import add_data_flags, columns_of
from pointsman.cli.parsing import add_threads
from pointsman.progress import tell


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", type=Path, help="TOML file with every setting of the run")
    parser.add_argument(
        "--data", type=Path, required=True, help="directory that the recipe's globs start from"
    )
    add_data_flags(parser)
    parser.add_argument("--output", type=Path, required=True, help="directory of the run and its checkpoint")
    parser.add_argument(
        "--base",
        type=checkpoint_at,
        help="start from these weights: default-router, a directory, a hub name",
    )
    parser.add_argument(
        "--teacher",
        type=checkpoint_at,
        help="a classifier's checkpoint directory whose opinions are the soft labels "
        "(default: a logistic regression on the encoder's vectors)",
    )
    parser.add_argument(
        "--encoder",
        nargs="+",
        default=[],
        help="more sentence encoders for the recipe's experts: directories or hub names",
    )
    parser.add_argument("--cache", type=Path, help="directory of teacher outputs (default: OUTPUT/cache)")
    add_threads(parser)


def run(args: argparse.Namespace) -> int:
    from pointsman.train.distill import Distillation, distill
    from pointsman.train.recipe_loader import load_recipe

    plan = Distillation(
        load_recipe(args.recipe),
        args.data,
        args.output,
        base=args.base and args.base.as_posix(),
        teacher=args.teacher,
        encoders=tuple(args.encoder),
        cache=args.cache,
        columns=columns_of(args),
    )
    print(distill(plan, threads=args.threads, progress=tell))
    return 0
