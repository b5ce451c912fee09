"""Measure a router's speed, size and start, and compare it with other backends.

Every backend runs alone in its own process with the same threads, in alternating rounds; ratios are taken
within a round and shown with their spread. With --reference, the checkpoint in PyTorch, the usual batch
loop and a transformers process are measured too. Results go to --output: benchmark.json (every raw timing),
benchmark.md, report.html (one self-contained file) and PNG plots. Progress goes to standard error. Measure
on a machine that does nothing else.
"""

import argparse
import sys
import time
from pathlib import Path

from pointsman.artifact.address import checkpoint_at
from pointsman.cli.parsing import whole

JSON_FILE = "benchmark.json"
MARKDOWN_FILE = "benchmark.md"
HTML_FILE = "report.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("artifact", metavar="ARTIFACT", type=Path, help="the router to measure")
    parser.add_argument(
        "--reference",
        metavar="CHECKPOINT",
        type=checkpoint_at,
        help="the checkpoint it was made from, to compare with",
    )
    parser.add_argument(
        "--threads", metavar="N", type=whole(1), help="threads of every scenario (default: one, and then all)"
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        default=Path("benchmark"),
        help="directory of the results (default: benchmark)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="fewer shapes and calls: a minute instead of many"
    )
    parser.add_argument(
        "--queries", metavar="FILE", type=Path, help="queries, JSONL or one a line; default: the shipped ones"
    )
    parser.add_argument("--profile", action="store_true", help="also show how long each operator takes")
    parser.add_argument("--json", action="store_true", help="print benchmark.json to standard output")


def run(args: argparse.Namespace) -> int:
    from pointsman.artifact.address import open_artifact
    from pointsman.bench.report.html import render_html
    from pointsman.bench.report.markdown import render_markdown
    from pointsman.bench.report.plots import write_plots
    from pointsman.bench.scenarios import read_preset
    from pointsman.bench.suite import Request, measure

    request = Request(
        artifact=open_artifact(args.artifact),
        reference=args.reference,
        preset=read_preset("quick" if args.quick else "full"),
        queries=args.queries,
        threads=args.threads,
        command=_command(args),
        profile=args.profile,
    )
    _writable(args.output)
    begin = time.perf_counter_ns()
    benchmark = measure(request, lambda line: _say(line, begin))
    (args.output / JSON_FILE).write_text(benchmark.to_json(), encoding="utf-8")
    (args.output / MARKDOWN_FILE).write_text(render_markdown(benchmark), encoding="utf-8")
    (args.output / HTML_FILE).write_text(render_html(benchmark), encoding="utf-8")
    plots = write_plots(benchmark, args.output)
    names = ", ".join((JSON_FILE, MARKDOWN_FILE, HTML_FILE, *(path.name for path in plots)))
    _say(f"wrote {names} to {args.output}", begin)
    if args.json:
        sys.stdout.write(benchmark.to_json())
    return 0


def _command(args: argparse.Namespace) -> str:
    """What measures this again; paths are left out, because a report is shared."""
    parts = ["pointsman bench ARTIFACT"]
    parts += ["--reference CHECKPOINT"] if args.reference else []
    parts += [f"--threads {args.threads}"] if args.threads else []
    parts += ["--queries FILE"] if args.queries else []
    parts += ["--quick"] if args.quick else []
    parts += ["--profile"] if args.profile else []
    return " ".join(parts)


def _writable(folder: Path) -> None:
    """Make the output folder before an hour is spent measuring.

    Raises:
        SettingsError: it cannot be made.
    """
    from pointsman.errors import SettingsError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"--output {folder}: cannot be made: {error.strerror}.") from None


def _say(line: str, begin: int) -> None:
    seconds = (time.perf_counter_ns() - begin) / 1e9
    print(f"[{seconds:6.1f} s] {line}", file=sys.stderr, flush=True)
