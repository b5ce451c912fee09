"""The command of a suite: run its checks, write down what came of them, render its page."""

import argparse
import asyncio
import json
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

from tests.support.harness.bench import Bench
from tests.support.harness.measure import Check, Entry, Measure, Results, Suite
from tests.support.harness.page import Page, figure
from tests.support.process import LOAD_CORE, pin

from pointsman.bench.environment import capture_environment


def main(page: Page, description: str | None) -> int:
    """Run the command line of a suite.

    Args:
        page: its checks, its recorded results and the documents that are rendered from them.
        description: what `--help` says first.

    Returns:
        0, or 1 where a count missed its target, or with `--strict` a time.
    """
    suite, args = page.suite, _parser(description, page.results).parse_args()
    output: Path | None = args.output or (page.results if args.size != "small" or args.page else None)
    if args.page:
        page.write()
        return 0
    bench = Bench(args.size) if args.seed is None else Bench(args.size, args.seed)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        results = runner.run(run_all(bench, suite.chosen(args.only)))
    if output is not None:
        record(results, output, suite, is_part=bool(args.only))
        if args.output is None:
            page.write()
    failed = [e.id for e in results.entries if not (e.holds if args.strict else e.counts_hold)]
    late = [e.id for e in results.entries if e.counts_hold and not e.holds]
    print(
        f"{len(results.entries)} checks in {results.took_s:.0f} s; missed: {failed or 'none'}; "
        f"slower than promised: {late or 'none'}"
    )
    return 1 if failed else 0


def _parser(description: str | None, results: Path) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", choices=("small", "medium", "full"), default="small")
    parser.add_argument("--only", default="", help="parts or checks, for example A,B3")
    parser.add_argument(
        "--output", type=Path, help=f"file for the results (default for all but small: {results.name})"
    )
    parser.add_argument("--seed", type=int, help="another seed")
    parser.add_argument("--strict", action="store_true", help="a missed time is a failure, too")
    parser.add_argument("--page", action="store_true", help="only render the page from the recorded results")
    return parser


def record(results: Results, path: Path, suite: Suite, *, is_part: bool) -> None:
    """Write results; those of a few checks take their places among the recorded ones of the same size.

    A check that was not recorded before comes where the table of checks has it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if is_part and path.is_file() and (before := Results.read(path)).size == results.size:
        known = {entry.id: entry for entry in (*before.entries, *results.entries)}
        results = replace(before, entries=[known[id] for id in suite.checks if id in known])
    text = json.dumps(results.to_dict(), indent=1, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")


async def run_all(bench: Bench, checks: list[Check]) -> Results:
    """One check after the other; one that breaks is written down and does not stop the rest."""
    environment = asdict(capture_environment(packages=PACKAGES))
    is_pinned = pin(LOAD_CORE)
    started = time.monotonic()
    results = Results(
        size=bench.size,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        took_s=0.0,
        environment=environment,
        pinned=is_pinned,
    )
    for number, check in enumerate(checks, 1):
        print(f"[{number}/{len(checks)}] {check.id} {check.claim}", flush=True)
        results.entries.append(await run_one(bench, check))
    results.took_s = time.monotonic() - started
    return results


PACKAGES = ("pointsman", "onnxruntime", "tokenizers", "uvicorn", "httptools", "uvloop", "starlette", "httpx")


async def run_one(bench: Bench, check: Check) -> Entry:
    """Run a check and print what it found."""
    begun = time.monotonic()
    measures: tuple[Measure, ...] = ()
    seeds: tuple[int, ...] = ()
    remark = error = ""
    try:
        finding = await check.run(bench)
        measures, seeds, remark = finding.measures, finding.seeds, finding.remark
    except Exception as broken:
        traceback.print_exc()
        error = f"{type(broken).__name__}: {broken}"[:300]
    took_s = time.monotonic() - begun
    for measure in measures:
        mark = "  " if measure.target is None else "ok" if measure.holds else "MISSED"
        print(f"    {mark:6} {measure.name}: {figure(measure)}", flush=True)
    print(f"    {took_s:.1f} s {error}", flush=True)
    return Entry(check.id, round(took_s, 2), measures, seeds, remark, error)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ModuleNotFoundError:
        return None
    return uvloop.new_event_loop
