"""What follows from the timings: ratios within a round, memory of a caller, and the model of more cores."""

import heapq
from collections.abc import Mapping, Sequence
from statistics import linear_regression, median
from typing import Any

from benchmarks.figures import Figure

MODELLED = (2, 4, 8, 16)


def measured(parts: Mapping[str, Any]) -> list[Figure]:
    """The figures that were aimed at, of those parts that were measured."""
    found = []
    if "many" in parts:
        found += _many("`route_many`, two threads over one", ">= 1.8x", parts["many"])
    if "many_beside_busy" in parts:
        found += _many("the same beside one busy core", ">= 1.2x", parts["many_beside_busy"])
    if "one_by_one" in parts:
        part = parts["one_by_one"]
        ratios = [default / one for one, default in part["rounds"]]
        what = f"`route`, one query: default settings ({part['threads']} threads) over one thread"
        found.append(Figure(what, _told(ratios, "of the time"), aim="<= 1.02"))
    if "callers" in parts:
        held = {int(n): median(sizes) for n, sizes in parts["callers"]["held_bytes"].items()}
        slope = linear_regression(list(held), list(held.values())).slope / 2**20
        found.append(Figure("memory of each further caller", slope, "MiB", "<= 5 MiB"))
    return found


def modelled(parts: Mapping[str, Any]) -> list[Figure]:
    """`route_many` on more cores than were there, from its parts on one thread and from what two cost."""
    if not {"many", "stages"} <= parts.keys():
        return []
    stages, rounds = parts["stages"]["rounds"], parts["many"]["rounds"]
    serial = median(one["whole"] - sum(one["runs"]) for one in stages)
    runs = [median(times) for times in zip(*(one["runs"] for one in stages), strict=True)]
    alone = serial + sum(runs)
    # What two runs cost each other: measured two threads over what two would take if they did not.
    slowed = median(two / one for one, two in rounds) * alone / (serial + makespan(runs, 2))
    what = "share of `route_many` that runs on one thread: tokens, padding, decisions"
    found = [
        Figure(what, 100 * serial / alone, "%"),
        Figure("a run beside another takes", slowed, "x the time"),
    ]
    for threads in MODELLED:
        predicted = alone / ((serial + makespan(runs, threads)) * slowed)
        known = ", as measured" if threads == 2 else ""
        found.append(Figure(f"modelled: `route_many`, {threads} threads over one{known}", predicted, "x"))
    return found


def makespan(runs: Sequence[float], threads: int) -> float:
    """Seconds until the last of the runs ends, each taken in order by the first thread that is free."""
    free = [0.0] * threads
    for seconds in runs:
        heapq.heappush(free, heapq.heappop(free) + seconds)
    return max(free)


def _many(what: str, aim: str, part: Mapping[str, Any]) -> list[Figure]:
    told = _told([one / two for one, two in part["rounds"]], "x")
    rates = [part["texts"] / median(times) for times in zip(*part["rounds"], strict=True)]
    return [Figure(what, f"{told}; {rates[0]:,.0f} and {rates[1]:,.0f} texts/s", aim=aim)]


def _told(ratios: Sequence[float], unit: str) -> str:
    gap = "" if unit == "x" else " "
    low, high = min(ratios), max(ratios)
    return f"{median(ratios):.2f}{gap}{unit} ({low:.2f} to {high:.2f}, {len(ratios)} rounds)"
