"""The figures of docs/deploy/batch.md, computed from the recorded timings."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import linear_regression, median
from typing import Any

PAGE = Path(__file__).resolve().parents[2] / "docs" / "deploy" / "batch.md"
RESULT = Path(__file__).resolve().parents[1] / "results" / "batch" / "batch.json"
BEGIN = "<!-- batch figures -->"
END = "<!-- /batch figures -->"
BILLION = 1e9
NODES = (1, 2, 4, 8, 16, 64)
NODE_CORES = 8
"""Cores of the node that the model speaks of."""


def with_batch_figures(text: str, result: Path = RESULT) -> str:
    """A page's text with the figures of a recorded result between the marks, where it has them."""
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        return text
    shown = figures(json.loads(result.read_text(encoding="utf-8")))
    return f"{head}{BEGIN}\n\n{shown}\n\n{END}{tail}"


def figures(result: dict[str, Any]) -> str:
    """Markdown: the machine, the aims, the rates, the memory, the kills, the sizing."""
    sections = [_machine(result), aims(result)]
    if "local" in result:
        sections += [_rates(result), _memory(result["local"]), _bytes(result), _sizing(result)]
    if "kills" in result:
        sections.append(_kills(result["kills"]))
    return "\n\n".join(sections)


def rate(run: dict[str, Any]) -> float:
    """Rows per second of the whole run, the start of its processes included."""
    return float(run["rows"] / run["seconds"])


def steady_rate(run: dict[str, Any]) -> float | None:
    """Rows per second after the first part was there: without the start; None where that is too little."""
    first = run["first_part"]
    if first is None or first["rows"] * 2 > run["rows"]:
        return None
    return float((run["rows"] - first["rows"]) / (run["seconds"] - first["seconds"]))


def share_of_bare(result: dict[str, Any]) -> float:
    """The whole local run's rate over `route_many`'s: the mean of before and after."""
    bare = [rate(run) for run in result["route_many"]]
    return rate(result["local"]) / (sum(bare) / len(bare))


def cpu_share_of_bare(result: dict[str, Any]) -> float:
    """Rows per processor second, every process of the run counted, over `route_many`'s.

    Other work on the machine moves this less than it moves the clock.
    """
    bare = [run["rows"] / run["cpu_seconds"] for run in result["route_many"]]
    long = result["local"]
    return float(long["rows"] / long["cpu_seconds"] / (sum(bare) / len(bare)))


def share_of_local(result: dict[str, Any]) -> float:
    """Ray's rate over local's, without the start where the runs are long enough; the median of the pairs."""
    return median(
        (steady_rate(pair["ray"]) or rate(pair["ray"])) / (steady_rate(pair["local"]) or rate(pair["local"]))
        for pair in result["pairs"]
    )


def memory_slope(run: dict[str, Any]) -> float:
    """MiB that parent and workers grow by in 100,000 rows, fitted from 20 % to 95 % of the run's time."""
    begin, end = 0.2 * run["seconds"], 0.95 * run["seconds"]
    late = [sample for sample in run["samples"] if begin <= sample[0] <= end]
    if len(late) < 3:
        return float("nan")
    per_second = run["rows"] / run["seconds"]
    rows = [seconds * per_second for seconds, _, _, _ in late]
    held = [(own + rest) / 2**20 for _, _, own, rest in late]
    return linear_regression(rows, held).slope * 100_000


def _machine(result: dict[str, Any]) -> str:
    environment, texts = result["environment"], result["texts"]
    packages = environment["packages"]
    versions = ", ".join(f"{name} {packages[name]}" for name in ("onnxruntime", "ray") if name in packages)
    told = dict.fromkeys(
        f"`{one['command']}` (load at the start {one['load']:.1f})" for one in result["measured"].values()
    )
    return (
        f"{', '.join(told)} on {environment['cpu']}, {result['cores']} cores, "
        f"Python {environment['python']}, {versions}. "
        f"Router {texts['artifact']}, {texts['variant']}. Texts: {texts['made']}, "
        f"{texts['distinct'] / texts['rows']:.0%} of {texts['rows']:,} different, "
        f"{texts['tokens_mean']:.1f} tokens on average, {texts['tokens_most']} at most."
    )


def aims(result: dict[str, Any]) -> str:
    """What was aimed at and what was measured, as a table."""
    rows: list[tuple[str, str, str, bool | None]] = []
    if "local" in result:
        share = share_of_bare(result)
        name = f"local, {result['local']['rows']:,} rows, over `route_many`"
        rows.append((name, "≥ 90 %", f"{share:.1%}", share >= 0.9))
        rows.append(("the same by processor time", "", f"{cpu_share_of_bare(result):.1%}", None))
    if "pairs" in result:
        share = share_of_local(result)
        equal = all(pair["equal_outputs"] for pair in result["pairs"])
        rows.append(("ray over local, same machine, after the start", "≥ 80 %", f"{share:.1%}", share >= 0.8))
        started = median(rate(pair["ray"]) / rate(pair["local"]) for pair in result["pairs"])
        rows.append(("the same with the start", "", f"{started:.1%}", None))
        rows.append(("ray's output equals local's, byte by byte", "yes", "yes" if equal else "no", equal))
    else:
        rows.append(("ray over local, same machine, after the start", "≥ 80 %", "not measured", None))
    if "kills" in result:
        runs = result["kills"]["runs"]
        lost, doubled = sum(run["lost"] for run in runs), sum(run["doubled"] for run in runs)
        rows.append(
            (
                f"rows lost and doubled in {len(runs)} runs killed by SIGKILL",
                "0 and 0",
                f"{lost} and {doubled}",
                not lost and not doubled,
            )
        )
    return table(
        ("figure", "aim", "measured", ""),
        [(name, aim, found, _VERDICTS[met]) for name, aim, found, met in rows],
    )


_VERDICTS = {True: "met", False: "**missed**", None: ""}


def _rates(result: dict[str, Any]) -> str:
    bare = [rate(run) for run in result["route_many"]]
    rows = [
        (
            f"`route_many`, {run['processes']} processes, one thread each",
            f"{run['rows']:,}",
            f"{rate(run):,.0f}",
            "",
            f"{rate(run) / run['processes']:,.0f}",
            _spent(run),
        )
        for run in result["route_many"]
    ]
    named = [("local, 1 worker", result["one_worker"]), ("local", result["local"])]
    named.append(("local, Parquet in and out", result["parquet"]))
    for pair in result.get("pairs", ()):
        named += [("local, beside Ray", pair["local"]), ("ray", pair["ray"])]
    for name, run in named:
        steady = steady_rate(run)
        rows.append(
            (
                f"{name}, {run['workers']} workers" if "worker" not in name else name,
                f"{run['rows']:,}",
                f"{rate(run):,.0f}",
                f"{steady:,.0f}" if steady else "",
                f"{(steady or rate(run)) / run['workers']:,.0f}",
                _spent(run),
            )
        )
    return (
        table(("what", "rows", "rows/s", "after the start", "a worker", "processor µs a row"), rows)
        + f"\n\n`route_many` was measured before and after the long run and gave {bare[0]:,.0f} and "
        f"{bare[-1]:,.0f} rows/s: texts in memory, no file, blocks of 4,096 rows, the start of the "
        "processes not counted. `rows/s` of a batch run counts everything, from the start of the interpreter "
        "to its end."
    )


def _spent(run: dict[str, Any]) -> str:
    return f"{1e6 * run['cpu_seconds'] / run['rows']:,.0f}" if run["cpu_seconds"] else ""


def _memory(run: dict[str, Any]) -> str:
    def held(share: float) -> str:
        _, _, own, rest = min(run["samples"], key=lambda sample: abs(sample[0] - share * run["seconds"]))
        return f"{own / 2**20:,.0f} + {rest / 2**20:,.0f}"

    shares = (0.1, 0.25, 0.5, 0.75, 0.95)
    return (
        table(
            ("resident MiB, parent + workers", *(f"at {share:.0%}" for share in shares)),
            [(f"{run['rows']:,} rows", *(held(share) for share in shares))],
        )
        + f"\n\nFitted from 20 % to 95 % of the time, memory grows by {memory_slope(run):+.2f} MiB in "
        "100,000 rows."
    )


def _bytes(result: dict[str, Any]) -> str:
    rows = [
        (name, f"{run['input_bytes'] / run['rows']:.0f}", f"{run['output_bytes'] / run['rows']:.0f}")
        for name, run in (("JSON lines", result["local"]), ("Parquet (snappy)", result["parquet"]))
    ]
    return table(("bytes a row", "in", "out"), rows)


def _sizing(result: dict[str, Any]) -> str:
    one, all_ = result["one_worker"], result["local"]
    per_core = (steady_rate(all_) or rate(all_)) / all_["workers"]
    driver = all_["rows"] / all_["parent_cpu_seconds"]
    measured = [
        (one["workers"], steady_rate(one) or rate(one)),
        (all_["workers"], per_core * all_["workers"]),
    ]
    rows = [
        (f"{workers} worker{'s' if workers > 1 else ''} here", "measured", *_time(found))
        for workers, found in measured
    ]
    for nodes in NODES:
        workers = nodes * NODE_CORES
        rows.append((f"{nodes} × {NODE_CORES} cores", "modelled", *_time(min(workers * per_core, driver))))
    return (
        f"A billion such rows cost {BILLION / per_core / 3600:,.0f} core-hours at {per_core:,.0f} rows/s a "
        f"core. The parent, which alone reads and writes, uses {1e6 / driver:.0f} µs of processor a row, so "
        f"one run cannot pass {driver:,.0f} rows/s, which {driver / per_core:,.0f} cores reach; beyond that, "
        f"split the inputs into several runs.{_driver(result)}\n\n"
        + table(("workers", "", "rows/s", "a billion rows"), rows)
    )


def _driver(result: dict[str, Any]) -> str:
    if "pairs" not in result:
        return ""
    run = result["pairs"][-1]["ray"]
    return (
        f" Ray's driver costs more: {run['parent_cpu_seconds']:.1f} s of processor for {run['rows']:,} rows, "
        "its start included."
    )


def _time(per_second: float) -> tuple[str, str]:
    hours = BILLION / per_second / 3600
    return f"{per_second:,.0f}", f"{hours / 24:,.1f} days" if hours > 48 else f"{hours:,.1f} h"


def _kills(kills: dict[str, Any]) -> str:
    runs = kills["runs"]
    rows = []
    for who in dict.fromkeys(run["who"] for run in runs):
        some = [run for run in runs if run["who"] == who]
        rows.append(
            (
                {"group": "parent and workers at once", "parent": "the parent", "worker": "one worker"}[who],
                len(some),
                f"{min(run['parts_there'] for run in some)} to {max(run['parts_there'] for run in some)}",
                sum(run["lost"] for run in some),
                sum(run["doubled"] for run in some),
                f"{sum(run['equal_output'] for run in some)} of {len(some)}",
            )
        )
    return (
        f"Killed at a random moment of the {kills['usual_seconds']:.1f} s that {kills['rows']:,} rows take, "
        "then the same command again:\n\n"
        + table(
            (
                "SIGKILL to",
                "runs",
                "parts there",
                "rows lost",
                "doubled",
                "output as undisturbed",
            ),
            rows,
        )
    )


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; the first column is text, the others are figures."""
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
