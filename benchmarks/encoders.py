"""Int8 for encoders other than MobileBERT: which get it, and what it is worth on this machine.

    python -m benchmarks.encoders                  # everything: a quarter of an hour
    python -m benchmarks.encoders --part tiny      # one of each architecture, tiny
    python -m benchmarks.encoders --part base      # the speed of BERT-base's shape

Weights are random: right for speed and for whether a graph can be rewritten; what int8 costs in answers
depends on the weights, and every export measures it. Figures go to results/targets/encoders.json.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from statistics import median

import numpy as np
from benchmarks.figures import Figure, record, recorded
from benchmarks.full_size import write_checkpoint

from pointsman.artifact.store import Artifact
from pointsman.bench.environment import capture_environment
from pointsman.convert.build import export
from pointsman.convert.options import ExportOptions
from pointsman.runtime.router import Router
from pointsman.runtime.session import SessionConfig

ARCHITECTURES = (
    "bert", "MiniLM", "distilbert", "roberta", "xlm-roberta", "electra", "albert", "deberta-v2", "mpnet",
    "modernbert", "gpt2", "qwen3",
)  # fmt: skip
SHAPES = ((1, 16), (1, 128), (8, 16))
ROUNDS = 7
TINY = ", tiny"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", choices=("tiny", "base"), help="only this; the other stays in the record")
    parser.add_argument("--artifact", type=Path, help="measure this one of BERT-base, instead of making one")
    parser.add_argument("--tokenizer", type=Path, default=Path("checkpoints/default-router"))
    args = parser.parse_args()
    environment = capture_environment()
    with tempfile.TemporaryDirectory() as folder:
        figures = recorded("encoders")
        if args.part != "base":
            made_now = [_tiny(name, Path(folder) / name) for name in ARCHITECTURES]
            figures = [*made_now, *(one for one in figures if not one.what.endswith(TINY))]
        if args.part != "tiny":
            speed = _speed(args.artifact or _bert_base(args.tokenizer, Path(folder)))
            figures = [*(one for one in figures if one.what.endswith(TINY)), *speed]
    record("encoders", "python -m benchmarks.encoders", figures, environment)
    return 0


def _tiny(architecture: str, folder: Path) -> Figure:
    options = ExportOptions(measure=False, max_tokens=48)
    # By name: the types of the tests are not checked.
    checkpoint = import_module("tests.convert.encoders").made(folder, architecture)
    done = export(checkpoint, folder / "artifact", options, lambda line: None)
    told = _told(done.artifact.manifest.conversion["int8"], done.comparisons.get("int8"))
    sys.stderr.write(f"{architecture}: {told}\n")
    return Figure(f"{architecture}{TINY}", told)


def _told(report: Mapping[str, object], comparison: object) -> str:
    if "refused" in report:
        return f"refused: {report['refused']}"
    return f"{report['products']} products, {comparison.label_agreement:.1%} of labels agree"  # type: ignore[attr-defined]


def _bert_base(tokenizer: Path, folder: Path) -> Path:
    write_checkpoint(folder / "bert-base", tokenizer, 12, bert=True)
    options = ExportOptions(measure=False)
    return export(folder / "bert-base", folder / "artifact", options, lambda line: None).artifact.path


def _speed(path: Path) -> list[Figure]:
    """Int8 over the fastest float32 variant, in turns, on one thread."""
    names = Artifact.open(path).manifest.variants
    config = SessionConfig(threads=1)
    sessions = {name: Router.open(path, variant=name, session=config).session for name in names}
    figures = []
    for batch, length in SHAPES:
        ids = np.full((batch, length), 7, np.int64)
        feed = (ids, np.ones_like(ids))
        rounds: list[dict[str, float]] = []
        for number in range(ROUNDS + 1):
            taken = {}
            for name, session in sessions.items():
                began = time.perf_counter()
                session.run(*feed)
                taken[name] = 1000 * (time.perf_counter() - began)
            rounds += [taken] if number else []
        times = {name: median(one[name] for one in rounds) for name in names}
        best = min((name for name in names if name != "int8"), key=times.__getitem__)
        ratios = [one[best] / one["int8"] for one in rounds]
        told = f"{median(ratios):.2f}x ({min(ratios):.2f} to {max(ratios):.2f}, {ROUNDS} rounds)"
        told += f"; {times['int8']:.1f} and {times[best]:.1f} ms"
        what = f"BERT-base's shape, {batch}x{length}, one thread: int8 over {best} float32"
        figures.append(Figure(what, told, aim=">= 2x with VNNI" if (batch, length) == (1, 16) else ""))
    return figures


if __name__ == "__main__":
    sys.exit(main())
