"""This package beside OpenVINO and NNCF: four shapes, one thread and all, alone and side by side.

    nox -s peers
    .peers/openvino/bin/python -m benchmarks.peers ARTIFACT [--reference CHECKPOINT] [--output DIR]

A part of `pointsman bench`, in some minutes: the shapes in which a peer could be ahead, in time and in rate.
With the checkpoint, PyTorch eager and compiled are rows, too; compiling needs a C++ compiler, and minutes.
"""

import argparse
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

from pointsman.artifact.address import open_artifact
from pointsman.bench.scenarios import read_preset
from pointsman.bench.suite import Request, measure

SHAPES = ((1, 8), (1, 16), (1, 128), (32, 32))
LEFT_OUT = ("ort_optimized", "guide_loop", "torch_program", "convert")
COMPILING_S = 600.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--reference", type=Path, help="the checkpoint that the artifact was made from")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/peers"))
    args = parser.parse_args()
    scenarios = [
        {"kind": kind, "threads": threads, "batch": batch, "length": length}
        for kind, threads in (("latency", 1), ("latency", "all"), ("rate", "all"))
        for batch, length in SHAPES
    ]
    quick = read_preset("quick")
    effort = replace(quick.effort, timeout_s=COMPILING_S)
    preset = replace(quick, scenarios=tuple(scenarios), leave_out=LEFT_OUT, effort=effort)
    command = "python -m benchmarks.peers ARTIFACT --reference CHECKPOINT"
    request = Request(open_artifact(args.artifact), args.reference, preset, command=command, profile=True)
    benchmark = measure(request, partial(print, file=sys.stderr))
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / "benchmark.json").write_text(benchmark.to_json(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
