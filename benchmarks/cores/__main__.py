"""Measure what the second core is worth: side by side against one thread, free and beside a busy core.

    python -m benchmarks.cores    # some minutes

Ratios are taken within a round, and rounds alternate. Timings go to results/cores/cores.json, and
docs/benchmarking.md shows the figures that follow from them.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.cores import library
from benchmarks.cores.figures import measured, modelled
from benchmarks.figures import FOLDER, record

from pointsman.bench.environment import capture_environment

RESULT = FOLDER.parent / "cores" / "cores.json"
PARTS = {
    "many": library.many,
    "many_beside_busy": library.many_beside_busy,
    "one_by_one": library.one_by_one,
    "callers": library.callers,
    "stages": library.stages,
}
"""In the order in which they run."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--part", action="append", choices=tuple(PARTS), help="only these; the others stay in the result"
    )
    parser.add_argument("--artifact", type=Path, help="default: the shipped router")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--output", type=Path, default=RESULT)
    args = parser.parse_args()
    environment = capture_environment()
    result: dict[str, Any] = {"schema": 1, "parts": {}}
    if args.output.is_file():
        result = json.loads(args.output.read_text(encoding="utf-8"))
    for name in args.part or PARTS:
        result["parts"][name] = PARTS[name](args)
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(json.dumps(result) + "\n", encoding="utf-8")
    figures = [*measured(result["parts"]), *modelled(result["parts"])]
    if args.output == RESULT:
        record("cores", "python -m benchmarks.cores", figures, environment)
    print("\n".join(f"{figure.what}: {figure.shown()}" for figure in figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
