"""The figures of a recorded run of `python -m benchmarks.batch`, computed from its timings."""

from statistics import linear_regression, median
from typing import Any

Aim = tuple[str, str, str, bool | None]
"""What it is, the aim, what was measured, and whether that is enough; None where there is no aim."""


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


def aims(result: dict[str, Any]) -> list[Aim]:
    """What was aimed at and what was measured."""
    rows: list[Aim] = []
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
        what = f"rows lost and doubled in {len(runs)} runs killed by SIGKILL"
        rows.append((what, "0 and 0", f"{lost} and {doubled}", not lost and not doubled))
    return rows
