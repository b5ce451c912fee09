"""The figures of docs/deploy/batch.md, computed from the recorded timings."""

from typing import Any

from benchmarks.batch.figures import aims, memory_slope, rate, steady_rate

from tools.pages import table

BILLION = 1e9
NODES = (1, 2, 4, 8, 16, 64)
NODE_CORES = 8
"""Cores of the node that the model speaks of."""


def figures(result: dict[str, Any]) -> str:
    """Markdown: the machine, the aims, the rates, the memory, the kills, the sizing."""
    sections = [_machine(result), _aims(result)]
    if "local" in result:
        sections += [_rates(result), _memory(result["local"]), _bytes(result), _sizing(result)]
    if "kills" in result:
        sections.append(_kills(result["kills"]))
    return "\n\n".join(sections)


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


def _aims(result: dict[str, Any]) -> str:
    verdicts = {True: "met", False: "**missed**", None: ""}
    rows = [(name, aim, found, verdicts[met]) for name, aim, found, met in aims(result)]
    return table(("figure", "aim", "measured", ""), rows)


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
        + table(("SIGKILL to", "runs", "parts there", "rows lost", "doubled", "output as undisturbed"), rows)
    )
