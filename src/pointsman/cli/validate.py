"""Check again that an artifact answers as its checkpoint does.

Every variant of ARTIFACT is compared with the PyTorch checkpoint on real text of every kind and on every
length: probability, label, batch and padding invariance, and the relative error against float64. The texts
with the largest differences are printed. Exit code 5 when a gate fails.
"""

import argparse
import json
from pathlib import Path

from pointsman.artifact.address import checkpoint_at
from pointsman.cli.parsing import add_threads
from pointsman.progress import tell


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("artifact", type=Path, help="directory of the artifact")
    parser.add_argument(
        "--reference",
        type=checkpoint_at,
        required=True,
        help="the checkpoint's directory, or default-router",
    )
    parser.add_argument("--queries", type=Path, help="file of queries (default: the project's own)")
    add_threads(parser)
    parser.add_argument("--json", action="store_true", help="print the comparisons as JSON")


def run(args: argparse.Namespace) -> int:
    from pointsman.artifact.address import open_artifact
    from pointsman.convert.validation import validate
    from pointsman.evaluation.parity import require, sentence

    comparisons = validate(
        open_artifact(args.artifact),
        args.reference,
        queries_file=args.queries,
        threads=args.threads,
        progress=tell,
    )
    if args.json:
        print(json.dumps({name: c.to_dict() for name, c in comparisons.items()}))
    else:
        for name, c in comparisons.items():
            print(f"{name} {sentence(c.to_dict())}")
            for worst in c.worst[:3]:
                print(f"    {worst.reference:.6f} -> {worst.found:.6f}  {worst.text[:80]!r}")
    require(comparisons)
    return 0
