"""Try every promise of the gateway, and write down what came of it.

    python -m benchmarks.gateway --size small|medium|full [--only A1,B] [--output DIR]

Small is for every change (a few minutes; only counts decide), medium takes twenty minutes, full is
what `make soak` runs. Results are JSON in DIR, where a run with --only replaces its checks;
docs/reliability.md is rendered from the medium or full ones. The exit code is 1 where a count missed its
target, or with --strict a time.
"""

import argparse
import asyncio
import json
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.gateway.bench import Bench
from benchmarks.gateway.measure import Check, Entry, Measure, Results
from benchmarks.gateway.parts import CHECKS
from benchmarks.gateway.process import LOAD_CORE, pin
from benchmarks.gateway.render import PAGE, figure, render

from pointsman.bench.environment import capture_environment

OUTPUT = Path("benchmarks/results/gateway")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", choices=("small", "medium", "full"), default="small")
    parser.add_argument("--only", default="", help="parts or checks, for example A,B3")
    parser.add_argument(
        "--output", type=Path, help=f"where the results go (default for all but small: {OUTPUT})"
    )
    parser.add_argument("--seed", type=int, help="another seed")
    parser.add_argument("--strict", action="store_true", help="a missed time is a failure, too")
    parser.add_argument("--page", action="store_true", help="only render the page from the results")
    args = parser.parse_args()
    output: Path | None = args.output or (OUTPUT if args.size != "small" or args.page else None)
    if args.page and output is not None:
        PAGE.write_text(render(read(output / "results.json")), encoding="utf-8")
        return 0
    bench = Bench(args.size) if args.seed is None else Bench(args.size, args.seed)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        results = runner.run(run_all(bench, chosen(args.only)))
    if output is not None:
        record(results, output / "results.json", is_part=bool(args.only))
        if args.output is None:
            PAGE.write_text(render(read(output / "results.json")), encoding="utf-8")
    failed = [e.id for e in results.entries if not (e.holds if args.strict else e.counts_hold)]
    late = [e.id for e in results.entries if e.counts_hold and not e.holds]
    print(
        f"{len(results.entries)} checks in {results.took_s:.0f} s; missed: {failed or 'none'}; "
        f"slower than promised: {late or 'none'}"
    )
    return 1 if failed else 0


def read(path: Path) -> Results:
    """The recorded results."""
    return Results.from_dict(json.loads(path.read_text(encoding="utf-8")))


def record(results: Results, path: Path, *, is_part: bool) -> None:
    """Write results; those of a few checks take their places among the recorded ones of the same size.

    A check that was not recorded before comes where the table of checks has it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if is_part and path.is_file() and (before := read(path)).size == results.size:
        known = {entry.id: entry for entry in (*before.entries, *results.entries)}
        results = replace(before, entries=[known[id] for id in CHECKS if id in known])
    text = json.dumps(results.to_dict(), indent=1, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")


def chosen(only: str) -> list[Check]:
    """The checks whose id or part is asked for; all without a word."""
    words = [word.strip() for word in only.split(",") if word.strip()]
    found = [c for c in CHECKS.values() if not words or c.id in words or c.id.rstrip("0123456789") in words]
    if not found:
        raise SystemExit(f"--only {only}: known are {', '.join(CHECKS)}")
    return found


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
    except Exception as broken:  # noqa: BLE001 - a check that cannot run is a result, too
        traceback.print_exc()
        error = f"{type(broken).__name__}: {broken}"[:300]
    took_s = time.monotonic() - begun
    for measure in measures:
        mark = "  " if measure.target is None else "ok" if measure.holds else "MISSED"
        print(f"    {mark:6} {measure.name}: {figure(measure)}", flush=True)
    print(f"    {took_s:.1f} s {error}", flush=True)
    where = f"{check.run.__module__}.{check.run.__name__}".removeprefix("benchmarks.gateway.")
    return Entry(
        check.id,
        check.claim,
        check.reference,
        check.tests,
        where,
        round(took_s, 2),
        measures,
        seeds,
        remark,
        error,
    )


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ModuleNotFoundError:
        return None
    return uvloop.new_event_loop


if __name__ == "__main__":
    sys.exit(main())
