"""Route files, every row once.

INPUT is one or more files of JSON lines, JSON, CSV with any delimiter, plain lines, Parquet or Arrow,
globs, or addresses that fsspec knows. OUTPUT is a directory of parts or, with the suffix of JSON lines,
CSV, Parquet or Arrow, one file. Each row gets the columns target, confidence, p_cloud, reason and
truncated. With --label or --local-when the targets are compared with the labels. Rows that cannot be routed
go to a separate file with their place and the reason. After an interruption, even a power cut, the same
command continues where it stopped.

Examples:
  pointsman batch queries.jsonl routes.jsonl
  pointsman batch 'logs/*.parquet' routes/ --column prompt
  pointsman batch 's3://bucket/day=*/*.parquet' s3://bucket/routes --engine ray --ray-address 10.0.0.1:6379
"""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from pointsman.cli.data_flags import add_data_flags, columns_of
from pointsman.cli.parsing import positive, whole
from pointsman.cli.policy_flags import add_router_flags, settings_of
from pointsman.errors import InputError, SettingsError

if TYPE_CHECKING:
    from pointsman.deploy.batch.options import BatchOptions
    from pointsman.deploy.batch.run import Engine, Summary
    from pointsman.deploy.batch.worker import RouterSpec


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", nargs="+", help="files, globs or fsspec addresses")
    parser.add_argument("output", help="a directory of parts, or one file by its suffix")
    add_data_flags(parser, label=None)
    parser.add_argument("--prefix", default="", help="put before the names of the added columns")
    parser.add_argument(
        "--format", help="format of the parts: jsonl, csv, parquet, arrow (default: the first input's)"
    )
    parser.add_argument("--chunk-rows", type=whole(1), help="rows of a part (default: 4096)")
    add_router_flags(parser)
    parser.add_argument("--max-length", help="tokens of a text at most; the rest is cut off")
    parser.add_argument(
        "--engine", choices=("local", "ray"), default="local", help="where it runs (default: local)"
    )
    parser.add_argument("--workers", type=whole(1), help="Ray actors (default: processors / threads)")
    parser.add_argument(
        "--threads",
        type=whole(1),
        help="batches side by side (default: the processors; 1 in each of Ray's actors)",
    )
    parser.add_argument("--ray-address", help="HOST:PORT, ray://HOST:PORT or auto (default: start Ray here)")
    parser.add_argument(
        "--ray-timeout", type=positive, default=10.0, help="seconds for the address to answer (default: 10)"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument("--json", action="store_true", help="the summary as JSON")


def run(args: argparse.Namespace) -> int:
    from pointsman.datasets.chunks import CHUNK_ROWS, require_arrow
    from pointsman.datasets.sources import find_sources
    from pointsman.deploy.batch.journal import BatchRun
    from pointsman.deploy.batch.options import FORMATS, BatchOptions
    from pointsman.deploy.batch.progress import Progress
    from pointsman.deploy.batch.run import run_batch, summary_json
    from pointsman.deploy.batch.worker import RouterSpec
    from pointsman.runtime.router import Router

    if args.ray_address is not None and args.engine != "ray":
        raise SettingsError("--ray-address is for --engine ray.")
    if args.format is not None and args.format not in FORMATS:
        raise SettingsError(f"--format: expected one of {', '.join(FORMATS)}, found {args.format!r}.")
    suffix = _output_format(args.output)
    if suffix and args.format and suffix != args.format:
        raise SettingsError(f"--format {args.format}: {args.output} says {suffix}.")
    sources = find_sources(args.input)
    form = args.format or suffix or sources[0].format
    form = form if form in FORMATS else "jsonl"
    if {form, *(source.format for source in sources)} & {"parquet", "arrow"}:
        require_arrow()
    settings = settings_of(args, max_tokens=args.max_length)
    router = Router.open(args.artifact, variant=args.variant, settings=settings)
    spec = RouterSpec.of(router, settings.max_tokens)
    options = BatchOptions(
        replace(columns_of(args), chat=router.manifest.chat),
        args.prefix,
        form,
        args.chunk_rows or CHUNK_ROWS,
        compare=args.label is not None or args.local_when is not None,
    )
    progress = Progress(sum(source.size for source in sources), quiet=args.quiet)
    with _engine(args, spec) as engine:
        summary = run_batch(BatchRun(sources, args.output, spec, options), engine, progress)
    print(summary_json(summary) if args.json else _readable(summary, options))
    return 0


@contextmanager
def _engine(args: argparse.Namespace, spec: "RouterSpec") -> "Iterator[Engine]":
    """The engine asked for; Ray is left when the run ends."""
    from pointsman.runtime.session import available_threads

    threads, workers = args.threads, args.workers
    if args.engine == "local":
        from pointsman.deploy.batch.local import route_local

        if workers is not None:
            print("pointsman batch: --workers is for Ray now; here it means --threads.", file=sys.stderr)
        yield partial(route_local, spec=spec, threads=threads or workers or available_threads())
        return
    from pointsman.deploy.batch.ray_pool import connect, route_ray

    threads = threads or 1
    workers = workers or max(1, available_threads() // threads)
    ray = connect(args.ray_address, workers * threads, args.ray_timeout)
    try:
        yield partial(route_ray, ray, spec=spec, workers=workers, threads=threads)
    finally:
        ray.shutdown()


def _output_format(output: str) -> str | None:
    """The format of one file; None for a directory."""
    from pointsman.datasets.sources import SPREADSHEETS, format_of

    if output.lower().endswith(".gz"):
        raise InputError(f"{output}: outputs are not compressed. Leave .gz out, or write Parquet.")
    found = format_of(output)
    if output.lower().endswith((".json", ".tsv", ".txt", *SPREADSHEETS)):
        raise InputError(f"{output}: expected .jsonl, .csv, .parquet, .arrow, or a directory.")
    return found


def _readable(summary: "Summary", options: "BatchOptions") -> str:
    resumed = f", {summary.resumed:,} records done before" if summary.resumed else ""
    bad = f"\n{summary.bad:,} bad rows: {summary.bad_rows}" if summary.bad else ""
    lines = [f"{summary.output}: {summary.routed:,} rows routed ({options.format}){resumed}{bad}"]
    parts = [("to the local model", summary.local), ("to the cloud model", summary.cloud)]
    lines += [f"{count:,} {what} ({count / summary.routed:.1%})" for what, count in parts if summary.routed]
    if summary.labelled:
        share = summary.agreed / summary.labelled
        lines.append(f"{summary.agreed:,} of {summary.labelled:,} labels agree ({share:.1%})")
    return "\n".join(lines)
