"""Train a router on your own labelled queries.

DATA are JSON lines, JSON, CSV (any delimiter), Parquet or Arrow files with a column `query` (--column) and
either `label` (local or cloud, or what --local-when says) or `weak_score` and `strong_score`: where the
strong model scored higher the label is cloud. Instead of `query` a row may have `messages`, a chat as it
comes to the gateway; --earlier-turns says how much of it is read, and goes into the checkpoint, the
artifact and so the gateway. A bad row is reported with its file and line, and counted. The result is
OUTPUT/checkpoint, a Hugging Face directory that `pointsman export` takes, with OUTPUT/curves.png beside it.
After an interrupt the same command continues where it stopped.

Example: pointsman train my-queries.csv --base default-router --output runs/mine
"""

import argparse
from pathlib import Path

from pointsman.artifact.address import checkpoint_at
from pointsman.cli.data_flags import add_data_flags, columns_of
from pointsman.cli.parsing import add_threads, number, positive, whole
from pointsman.progress import tell


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path, nargs="+", help="files of labelled queries")
    parser.add_argument(
        "--base",
        type=checkpoint_at,
        required=True,
        help="start from these weights: default-router, a checkpoint directory, a hub name such as "
        "google/mobilebert-uncased, or encoder (the sentence encoder: makes a teacher)",
    )
    parser.add_argument("--output", type=Path, required=True, help="directory of the run and its checkpoint")
    add_data_flags(parser)
    parser.add_argument("--validation", type=Path, nargs="+", default=[], help="files to validate on")
    parser.add_argument(
        "--validation-share",
        type=number(0.05, 0.5),
        default=0.15,
        help="or this share of the rows (default: 0.15)",
    )
    parser.add_argument("--epochs", type=positive, help="passes over the data (default: 6)")
    parser.add_argument("--learning-rate", type=positive, help="peak of the schedule (default: 1e-4)")
    parser.add_argument("--batch-tokens", type=whole(1), help="tokens of one step (default: 1024)")
    parser.add_argument(
        "--max-tokens", type=whole(8), default=128, help="tokens of a text at most (default: 128)"
    )
    parser.add_argument(
        "--earlier-turns",
        type=whole(0),
        help="earlier user messages of a chat that are read, too (default: as the base)",
    )
    parser.add_argument("--seed", type=whole(0), default=0, help="of every random draw (default: 0)")
    parser.add_argument(
        "--no-word-experts",
        action="store_true",
        help="leave out the base's word experts",
    )
    parser.add_argument("--no-balance", action="store_true", help="do not repeat rows of the rarer class")
    add_threads(parser)


def run(args: argparse.Namespace) -> int:
    from dataclasses import replace

    from pointsman.train.finetune import SCHEDULE, Plan, finetune

    given = {
        "epochs": args.epochs,
        "learning_rate": args.learning_rate,
        "batch_tokens": args.batch_tokens,
    }
    plan = Plan(
        files=tuple(args.data),
        base=args.base.as_posix(),
        output=args.output,
        validation=tuple(args.validation),
        validation_share=args.validation_share,
        max_tokens=args.max_tokens,
        earlier_turns=args.earlier_turns,
        word_experts=not args.no_word_experts,
        balance=not args.no_balance,
        columns=columns_of(args),
        seed=args.seed,
        schedule=replace(SCHEDULE, **{k: v for k, v in given.items() if v is not None}),
    )

    print(finetune(plan, threads=args.threads, progress=tell))
    return 0
