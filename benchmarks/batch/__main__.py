"""Measure `pointsman batch`: its rate beside `route_many`'s, its memory, Ray, and what a kill -9 loses.

    python -m benchmarks.batch                    # 1,000,000 rows: about a quarter of an hour on two cores
    python -m benchmarks.batch --rows 20000       # a minute or two, to try it
    python -m benchmarks.batch --part ray         # 200,000 rows with both engines, twice: some minutes

The queries are the project's own, edited by a seeded generator; --texts FILE takes real ones. Timings go to
results/batch/batch.json; no figure is stored: `python -m tools` computes those of docs/deploy/batch.md.
"""

import argparse
import json
import multiprocessing
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from benchmarks.batch.figures import aims
from benchmarks.batch.runs import WHO, Job, RunFailedError, killed, timed
from benchmarks.batch.texts import short_queries

from pointsman.bench.environment import PACKAGES, capture_environment
from pointsman.datasets.reading import read_texts
from pointsman.runtime.router import Router
from pointsman.runtime.session import available_threads
from pointsman.settings import Settings

RESULT = Path(__file__).resolve().parents[1] / "results" / "batch" / "batch.json"
SEED = 5
CHUNK = 4096
KILLS = 20


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the long run (default: 1,000,000)")
    parser.add_argument("--side-rows", type=int, help="of every other timed run (default: rows / 25)")
    parser.add_argument("--ray-rows", type=int, help="of a run beside Ray (default: rows / 5)")
    parser.add_argument("--kill-rows", type=int, default=5000, help="of a run that is killed (default: 5000)")
    parser.add_argument("--kills", type=int, default=KILLS, help=f"default: {KILLS}")
    parser.add_argument(
        "--part", action="append", choices=tuple(PARTS), help="only these; the others stay in the result"
    )
    parser.add_argument("--texts", type=Path, help="a file of texts, as `pointsman batch` reads them")
    parser.add_argument("--artifact", type=Path, help="default: the shipped router")
    parser.add_argument("--output", type=Path, default=RESULT)
    args = parser.parse_args()
    # The machine is looked at first, while nothing of ours runs.
    environment = capture_environment(packages=(*PACKAGES, "ray", "pyarrow")).to_dict()
    measured = {
        "command": " ".join(["python", "-m", "benchmarks.batch", *sys.argv[1:]]),
        "load": environment.pop("load"),
    }
    result: dict[str, Any] = {"schema": 1, "measured": {}}
    if args.part and args.output.is_file():
        result = json.loads(args.output.read_text(encoding="utf-8"))
    result["environment"] = environment
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        sample = list(islice(texts(args, SEED), args.side_rows or max(1, args.rows // 25)))
        result |= {"cores": available_threads(), "texts": about(sample, args)}
        for name, part in PARTS.items():
            if args.part and name not in args.part:
                continue
            try:
                result |= part(args, Path(folder), sample)
                result["measured"][name] = measured
            except RunFailedError as error:
                # What was measured stays: a quarter of an hour must not be lost to its last minute.
                say(f"{name} was not measured: {error}")
                failed.append(name)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(result) + "\n", encoding="utf-8")
    print("\n".join(f"{what}: {found}{aim and f', aim {aim}'}" for what, aim, found, _ in aims(result)))
    return 1 if failed else 0


def texts(args: argparse.Namespace, seed: int) -> Iterator[str]:
    return cycle(read_texts(args.texts)) if args.texts else short_queries(seed)


def local(args: argparse.Namespace, folder: Path, sample: list[str]) -> dict[str, Any]:
    """The long run, between two measurements of `route_many`; one worker; Parquet."""
    cores, source, long = available_threads(), folder / "local.jsonl", folder / "long.jsonl"
    write_rows(source, sample)
    write_rows(long, islice(texts(args, SEED + 1), args.rows))
    table = folder / "local.parquet"
    write_table(table, sample)
    before = route_many(sample, cores, args.artifact)
    run_long = run(Job(long, folder / "out.jsonl", args.artifact, workers=cores), args.rows)
    after = route_many(sample, cores, args.artifact)
    return {
        "route_many": [before, after],
        "local": run_long,
        "one_worker": without_samples(
            run(Job(source, folder / "one.jsonl", args.artifact, workers=1), len(sample))
        ),
        "parquet": without_samples(
            run(Job(table, folder / "out.parquet", args.artifact, workers=cores), len(sample))
        ),
    }


def ray(args: argparse.Namespace, folder: Path, sample: list[str]) -> dict[str, Any]:
    """The local and the Ray engine in turns, on the same rows; each is first once.

    Ray's own processes start for some seconds and keep a core busy, so these runs are not short.
    """
    cores, source, pairs = available_threads(), folder / "ray.jsonl", []
    rows = args.ray_rows or max(1, args.rows // 5)
    write_rows(source, islice(texts(args, SEED), rows))
    for turn, engines in enumerate((("local", "ray"), ("ray", "local"))):
        outputs = {engine: folder / f"{engine}{turn}.jsonl" for engine in engines}
        runs = {
            engine: without_samples(run(Job(source, output, args.artifact, engine, cores), rows))
            for engine, output in outputs.items()
        }
        equal = outputs["local"].read_bytes() == outputs["ray"].read_bytes()
        pairs.append({**runs, "equal_outputs": equal})
    return {"pairs": pairs}


def about(sample: list[str], args: argparse.Namespace) -> dict[str, Any]:
    """What the texts are like."""
    router = Router.open(args.artifact, settings=Settings(threads=1))
    tokens = [len(item.ids) for item in router.encode(sample)]
    return {
        "made": "given" if args.texts else "the project's own queries with seeded edits",
        "rows": len(sample),
        "distinct": len(set(sample)),
        "tokens_mean": sum(tokens) / len(tokens),
        "tokens_most": max(tokens),
        "artifact": router.manifest.name,
        "variant": router.variant,
    }


def write_rows(path: Path, texts: Any) -> None:
    with path.open("w", encoding="utf-8") as file:
        for number, text in enumerate(texts):
            file.write(json.dumps({"id": number, "query": text}) + "\n")


def write_table(path: Path, texts: list[str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"id": range(len(texts)), "query": texts}), path)


def run(job: Job, rows: int) -> dict[str, Any]:
    # Forty parts at least, so that the start can be told from the rest.
    job = replace(job, chunk_rows=min(CHUNK, max(1, rows // 40)))
    say(f"{job.engine}, {job.workers} workers, {rows:,} rows of {job.source.suffix}")
    return timed(job, rows, job.output.with_suffix(".log"))


def without_samples(run: dict[str, Any]) -> dict[str, Any]:
    """Only the long run's memory is looked at."""
    return {name: value for name, value in run.items() if name != "samples"}


def route_many(texts: list[str], processes: int, artifact: Path | None) -> dict[str, Any]:
    """The rate of the bare call: as many processes, one thread each, texts in memory, blocks as large."""
    say(f"route_many, {processes} processes, {len(texts):,} texts")
    context = multiprocessing.get_context("spawn")
    ready, done = context.Barrier(processes + 1), context.Barrier(processes + 1)
    spent = context.Value("d", 0.0)
    pool = [
        context.Process(target=_bare, args=(texts[index::processes], artifact, ready, done, spent))
        for index in range(processes)
    ]
    for process in pool:
        process.start()
    ready.wait()
    started = time.perf_counter()
    done.wait()
    seconds = time.perf_counter() - started
    for process in pool:
        process.join()
    return {
        "processes": processes,
        "threads": 1,
        "rows": len(texts),
        "seconds": round(seconds, 3),
        "cpu_seconds": round(spent.value, 2),
    }


def _bare(texts: list[str], artifact: Path | None, ready: Any, done: Any, spent: Any) -> None:
    router = Router.open(artifact, settings=Settings(threads=1))
    router.route_many(texts[:64])
    ready.wait()
    before = time.process_time()
    for start in range(0, len(texts), CHUNK):
        router.route_many(texts[start : start + CHUNK])
    with spent.get_lock():
        spent.value += time.process_time() - before
    done.wait()


def kill(args: argparse.Namespace, folder: Path, sample: list[str]) -> dict[str, Any]:
    """Kill a run at a random moment, run the same command again, and count ids."""
    cores, rows, chance = available_threads(), args.kill_rows, random.Random(SEED)
    source = folder / "kill.jsonl"
    write_rows(source, (sample[index % len(sample)] for index in range(rows)))
    whole = Job(source, folder / "whole.jsonl", args.artifact, workers=cores, chunk_rows=max(1, rows // 100))
    usual = timed(whole, rows, folder / "whole.log")["seconds"]
    expected = whole.output.read_bytes()
    runs: list[dict[str, Any]] = []
    late = 0
    while len(runs) < args.kills:
        who, at = WHO[len(runs) % len(WHO)], chance.uniform(0, usual)
        output = folder / f"killed{len(runs)}-{late}.jsonl"
        job = Job(source, output, args.artifact, workers=cores, chunk_rows=whole.chunk_rows)
        there = killed(job, who, at, folder / "killed.log")
        if there is None:
            late += 1
            continue
        timed(job, rows, folder / "again.log")
        ids = [json.loads(line)["id"] for line in output.read_bytes().splitlines()]
        runs.append(
            {
                "who": who,
                "at_seconds": round(at, 3),
                "parts_there": there,
                "lost": len(set(range(rows)) - set(ids)),
                "doubled": len(ids) - len(set(ids)),
                "equal_output": output.read_bytes() == expected,
            }
        )
        say(f"kill {len(runs)}: {runs[-1]}")
    return {"kills": {"rows": rows, "usual_seconds": usual, "too_late": late, "runs": runs}}


PARTS = {"local": local, "kill": kill, "ray": ray}
"""In the order in which they run."""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
