"""The tables of a benchmark report, as data: figures out of timings, in words and units; nothing measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pointsman.bench.results import Backend, Benchmark, Kind, Scenario
from pointsman.bench.statistics import Ratio

OURS = ("folded", "int8", "route_many", "route_many_folded", "route_many_int8", "router_program", "convert")
"""Backends that this project makes; tables set them apart."""
NONE = "–"
EVERY_SERIES, PROFILE = "Every series", "Where the time of a run goes"


@dataclass(frozen=True, slots=True)
class Row:
    """One row; `strong` sets it apart from the others."""

    cells: tuple[str, ...]
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table with a title, and a note under it where there is something to say; of figures, or of facts."""

    title: str
    headers: tuple[str, ...]
    rows: tuple[Row, ...]
    note: str = ""
    kind: str = "figures"


def milliseconds(nanoseconds: float) -> str:
    """A time with three digits that matter, in ms or s."""
    value = nanoseconds / 1e6
    if value >= 10_000:
        return f"{value / 1e3:.1f} s"
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f} ms"


def mebibytes(size: float) -> str:
    """A size in MiB; a dash for 0, which means not known."""
    return f"{size / 2**20:.0f} MiB" if size >= 10 * 2**20 else f"{size / 2**20:.1f} MiB" if size else NONE


def ratio_in_words(found: Ratio | None, unit: str = "x") -> str:
    """Median and range over the rounds; "no change" where rounds disagree on the direction."""
    if found is None:
        return NONE
    spread = f"{found.median:.2f}{unit} ({found.low:.2f} to {found.high:.2f})"
    return spread if found.is_change or unit != "x" else f"no change: {spread}"


def latency_tables(benchmark: Benchmark) -> tuple[Table, ...]:
    """Median milliseconds per shape, one table per number of threads, against the first backend measured."""
    tables = []
    for kind, what in ((Kind.LATENCY, "one call"), (Kind.RATE, "a batch among batches side by side")):
        found = [one for one in benchmark.scenarios if one.kind is kind]
        for threads in dict.fromkeys(one.threads for one in found):
            columns = [one for one in found if one.threads == threads]
            backends = [one for one in _measured(benchmark, columns) if not one.name.endswith("_products")]
            if not backends:
                continue
            rows = [_latency_row(benchmark, backends[0], backend, columns) for backend in backends]
            title = f"Median time of {what}, {threads} thread{'s' if threads > 1 else ''}"
            note = (
                f"Batch x tokens. In brackets: how many times faster than {backends[0].title}, "
                "median of the rounds. A mix holds the lengths of real queries; its figure is the mean."
            )
            tables.append(Table(title, ("", *(one.shape for one in columns)), tuple(rows), note))
    return tuple(tables)


def _latency_row(
    benchmark: Benchmark, baseline: Backend, backend: Backend, columns: Sequence[Scenario]
) -> Row:
    cells = [backend.title]
    for scenario in columns:
        summary = benchmark.summary(backend.name, scenario)
        if summary is None:
            cells.append(NONE)
            continue
        text = milliseconds(summary.mean if scenario.is_mix else summary.p50)
        times = benchmark.time_ratio(baseline.name, backend.name, scenario)
        if times is not None and backend is not baseline:
            text += f" ({times.median:.1f}x)"
        cells.append(text)
    return Row(tuple(cells), backend.name in OURS)


def detail_table(benchmark: Benchmark) -> Table:
    """Every series with its percentiles, and the doubts about it."""
    rows = []
    for scenario in benchmark.scenarios:
        for backend in benchmark.backends:
            summary = benchmark.summary(backend.name, scenario)
            if summary is None:
                continue
            throughput = benchmark.throughput(backend.name, scenario) or 0.0
            figures = (summary.p50, summary.p95, summary.p99)
            cells = (
                backend.title,
                scenario.name,
                str(summary.n),
                *(milliseconds(value) for value in figures),
                f"{throughput:,.1f}" if throughput < 100 else f"{throughput:,.0f}",
                mebibytes(benchmark.peak_rss_bytes(backend.name, scenario)),
                benchmark.doubts(backend.name, scenario) or "steady",
            )
            rows.append(Row(cells, backend.name in OURS))
    headers = ("backend", "scenario", "n", "p50", "p95", "p99", "rows/s", "peak memory", "verdict")
    note = "n counts calls without warm-ups. Peak memory is the process's, up to then."
    return Table(EVERY_SERIES, headers, tuple(rows), note)


def whole_table(benchmark: Benchmark) -> Table:
    """Many texts, whole processes and conversion: time, memory, against the first of its kind."""
    rows = []
    for scenario in benchmark.scenarios:
        if scenario.kind in (Kind.LATENCY, Kind.RATE):
            continue
        backends = _measured(benchmark, [scenario])
        for backend in backends:
            summary = benchmark.summary(backend.name, scenario)
            assert summary is not None
            first = backend is backends[0]
            times = None if first else benchmark.time_ratio(backends[0].name, backend.name, scenario)
            memory = None if first else benchmark.memory_ratio(backends[0].name, backend.name, scenario)
            cells = (
                backend.title,
                scenario.name,
                str(summary.n),
                milliseconds(summary.p50),
                ratio_in_words(times),
                mebibytes(benchmark.peak_rss_bytes(backend.name, scenario)),
                f"1/{memory.median:.1f}" if memory else NONE,
            )
            rows.append(Row(cells, backend.name in OURS))
    note = (
        "Texts: tokenization included. Cold start: a whole process: import, open, one decision, end. "
        "Conversion: a whole process from weights to a file that loads."
    )
    headers = ("what", "scenario", "n", "median", "times faster", "peak memory", "of the first")
    return Table("Whole jobs", headers, tuple(rows), note)


def limit_table(benchmark: Benchmark) -> Table:
    """The bare matrix products beside the model they come from."""
    rows = []
    for scenario in benchmark.scenarios:
        for variant in ("folded", "int8"):
            products = benchmark.summary(f"{variant}_products", scenario)
            model = benchmark.summary(variant, scenario)
            if products is None or model is None:
                continue
            facts = benchmark.facts.get(f"{variant}_products", {}).get(scenario.shape, {})
            operations = float(facts.get("mega_operations", 0.0))
            cells = (
                variant,
                scenario.name,
                milliseconds(products.p50),
                milliseconds(model.p50),
                ratio_in_words(benchmark.time_ratio(f"{variant}_products", variant, scenario), ""),
                f"{operations * 1e6 / products.p50:.0f}" if operations else NONE,
            )
            rows.append(Row(cells))
    headers = ("model", "scenario", "products alone", "whole model", "share", "billion operations/s")
    note = "A model's matrix products, attention's own too, alone in a graph: what no folding can remove."
    return Table("The limit", headers, tuple(rows), note)


def size_table(benchmark: Benchmark) -> Table:
    """Files and the memory of their workers."""
    rows = tuple(
        Row(
            (one.title, mebibytes(one.file_bytes), mebibytes(benchmark.peak_rss_bytes(one.name))),
            one.name in OURS,
        )
        for one in benchmark.backends
        if one.file_bytes and benchmark.peak_rss_bytes(one.name)
    )
    return Table("Size", ("", "file", "peak memory of its process"), rows)


def skipped_table(benchmark: Benchmark) -> Table:
    """What was not measured, or not to the end, and why."""
    rows = tuple(Row((one.title, one.skipped)) for one in benchmark.backends if one.skipped)
    return Table("Not measured", ("backend", "reason"), rows, kind="facts")


def environment_table(benchmark: Benchmark) -> Table:
    """The machine, the versions, the command."""
    machine = benchmark.environment
    versions = ", ".join(f"{name} {version}" for name, version in machine.packages.items())
    facts = (
        ("processor", f"{machine.cpu} ({machine.architecture})"),
        ("instructions that matter", ", ".join(machine.flags) or "none known"),
        ("processors", f"{machine.processors}, usable by affinity and quota: {machine.usable}"),
        ("memory", f"{machine.memory_bytes / 2**30:.1f} GiB" if machine.memory_bytes else NONE),
        ("system", f"{machine.system}, Python {machine.python}"),
        ("packages", versions),
        ("load before", f"{machine.load:.2f} processes"),
        ("measured", benchmark.created),
        ("command", benchmark.command or NONE),
        ("queries", _queries(benchmark.facts.get("queries", {}))),
    )
    return Table("Machine and method", ("", ""), tuple(Row(row) for row in facts), kind="facts")


def _queries(facts: Mapping[str, Any]) -> str:
    if not facts:
        return NONE
    return (
        f"{facts['n']:,}; tokens p50 {facts['tokens_p50']:.0f}, p90 {facts['tokens_p90']:.0f}, "
        f"p99 {facts['tokens_p99']:.0f}"
    )


def _measured(benchmark: Benchmark, scenarios: Sequence[Scenario]) -> list[Backend]:
    """Backends with a run in any of the scenarios, in the order of tables."""
    names = {one.name for one in scenarios}
    seen = {run.backend for run in benchmark.runs if run.scenario in names}
    return [one for one in benchmark.backends if one.name in seen]
