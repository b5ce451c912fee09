"""A benchmark as Markdown. It reads data and measures nothing: no clock, no model."""

from collections.abc import Iterable
from typing import Any

from pointsman.bench.report.facts import fact_tables
from pointsman.bench.report.tables import (
    PROFILE,
    Table,
    detail_table,
    environment_table,
    latency_tables,
    limit_table,
    size_table,
    skipped_table,
    whole_table,
)
from pointsman.bench.results import Benchmark

HOW_TO_READ = (
    "Every backend ran alone in its own process with the same number of threads, in alternating rounds. "
    "A ratio is taken within a round; the median round is quoted, with the lowest and the highest. "
    "Where rounds disagree on the direction, it says “no change”."
)


def report_tables(benchmark: Benchmark) -> tuple[Table, ...]:
    """All tables of a report, in order; empty ones are left out."""
    tables: tuple[Table, ...] = (
        *latency_tables(benchmark),
        whole_table(benchmark),
        limit_table(benchmark),
        size_table(benchmark),
        *fact_tables(PROFILE, benchmark.facts.get("profile", {})),
        *fact_tables("Peers' parity", peers_parity(benchmark)),
        *fact_tables("Conversion", benchmark.facts.get("conversion", {})),
        *fact_tables("Parity", benchmark.facts.get("parity", {})),
        environment_table(benchmark),
        skipped_table(benchmark),
        detail_table(benchmark),
    )
    return tuple(table for table in tables if table.rows)


def peers_parity(benchmark: Benchmark) -> dict[str, Any]:
    """How near the files of other quantizers stay to the plain file."""
    return {
        one.title: found
        for one in benchmark.backends
        if "mean_p" in (found := benchmark.facts.get(one.name, {}))
    }


def render_markdown(benchmark: Benchmark) -> str:
    """The whole report."""
    head = f"# Benchmark: {benchmark.subject}\n\n{HOW_TO_READ}\n"
    return "\n".join([head, *(render_table(table) for table in report_tables(benchmark))])


def render_table(table: Table) -> str:
    """One table under its title."""
    lines = [f"## {table.title}", "", _line(table.headers), _line("---" for _ in table.headers)]
    for row in table.rows:
        cells = [_escaped(cell) for cell in row.cells]
        if row.strong:
            cells[0] = f"**{cells[0]}**"
        lines.append(_line(cells))
    return "\n".join([*lines, "", *([table.note, ""] if table.note else [])])


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """Text that stays one cell, and is text: no row breaks, no HTML."""
    return (
        text.replace("\\", "\\\\")
        .replace("|", "\\|")
        .replace("\n", " ")
        .replace("<", "&lt;")
        .replace("*", "\\*")
    )
