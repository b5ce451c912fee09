"""A benchmark as one HTML file that needs nothing else: styles and charts inline, light and dark."""

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from pointsman.bench.report.markdown import HOW_TO_READ, report_tables
from pointsman.bench.report.plots import length_png
from pointsman.bench.report.series import bars
from pointsman.bench.report.tables import EVERY_SERIES, OURS, PROFILE, Table, milliseconds
from pointsman.bench.results import Benchmark, Kind, Scenario

BAR_SHAPES = ("1x16", "1xmix", "32x32")


def render_html(benchmark: Benchmark) -> str:
    """The whole report, as one page."""
    css = (files("pointsman.bench.report") / "report.css").read_text(encoding="utf-8")
    parts = [
        _header(benchmark),
        _cards(benchmark),
        *(_bars(benchmark, scenario) for scenario in _bar_scenarios(benchmark)),
        _section("Time over length, one query", _length_chart(benchmark)),
        *_profile(benchmark),
        *(_table_section(t) for t in report_tables(benchmark) if not t.title.startswith(PROFILE)),
        f"<footer>{escape(HOW_TO_READ)}</footer>",
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(benchmark.subject)}: benchmark</title><style>{css}</style></head>"
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def _header(benchmark: Benchmark) -> str:
    machine = benchmark.environment
    return (
        f"<header><h1>{escape(benchmark.subject)}</h1><p>Measured {escape(benchmark.created[:10])} on "
        f"{escape(machine.cpu)}, {machine.usable} of {machine.processors} processors"
        f"{', with VNNI' if machine.has_vnni else ', without VNNI'}. Every backend alone in its process, "
        "same threads, alternating rounds.</p></header>"
    )


def _cards(benchmark: Benchmark) -> str:
    """The few figures that a reader came for, of those that were measured."""
    best = str(benchmark.facts.get("default_variant", "int8"))
    cards = []
    usual = next((one for one in benchmark.scenarios if (one.shape, one.threads) == ("1x16", 1)), None)
    if usual and (summary := benchmark.summary(best, usual)):
        cards.append((milliseconds(summary.p50), f"{best}, one query of 16 tokens on one thread, median"))
        for name, words in (("torch", "faster than PyTorch eager"), ("plain", "faster than plain ONNX")):
            if times := benchmark.time_ratio(name, best, usual):
                cards.append((f"{times.median:.1f}x", f"{words}, same query, same thread"))
    for scenario in benchmark.scenarios:
        many = benchmark.throughput("route_many", scenario)
        if scenario.kind is Kind.BULK and many:
            words = f"real queries a second, {scenario.threads} threads, tokenization included"
            cards.append((f"{many:,.0f}", words))
        if scenario.kind is Kind.COLD_START:
            summary = benchmark.summary("router_program", scenario)
            times = benchmark.time_ratio("torch_program", "router_program", scenario)
            if summary:
                words = "to import, open and decide" + (
                    f", {times.median:.0f}x faster than torch" if times else ""
                )
                cards.append((milliseconds(summary.p50), words))
            if memory := benchmark.memory_ratio("torch_program", "router_program", scenario):
                cards.append((f"1/{memory.median:.1f}", "of the memory of transformers and torch"))
    inner = "".join(f'<div class="card"><b>{a}</b><span>{escape(b)}</span></div>' for a, b in cards)
    return f'<div class="cards">{inner}</div>' if cards else ""


def _bar_scenarios(benchmark: Benchmark) -> list[Scenario]:
    """One scenario per shape of interest: fewest threads for single queries, most for batches."""
    chosen = []
    for shape in BAR_SHAPES:
        fitting = [one for one in benchmark.scenarios if one.shape == shape]
        if fitting:
            pick = max if fitting[0].batch > 1 else min
            chosen.append(pick(fitting, key=lambda one: one.threads))
    return chosen


def _bars(benchmark: Benchmark, scenario: Scenario) -> str:
    what = "mean" if scenario.is_mix else "median"
    shape = f"{scenario.batch} quer{'ies' if scenario.batch > 1 else 'y'}"
    length = "lengths of real queries" if scenario.is_mix else f"{scenario.lengths[0]} tokens"
    threads = f"{scenario.threads} thread{'s' if scenario.threads > 1 else ''}"
    return _section(f"{shape}, {length}, {threads}: {what} time of a call", _bar_chart(benchmark, scenario))


def _bar_chart(benchmark: Benchmark, scenario: Scenario) -> str:
    """Horizontal bars, one a backend: median time, and how many times faster than the first."""
    return _bar_rows(
        (backend.title, time, f"{milliseconds(time)}{faster and f' · {faster}'}", backend.name in OURS)
        for backend, time, faster in bars(benchmark, scenario)
    )


def _profile_chart(rows: Sequence[Mapping[str, Any]]) -> str:
    """Horizontal bars, one a part of a run: its share and its time."""
    return _bar_rows(
        (row["part"], row["ms"], f"{row['percent']:.1f} % · {milliseconds(1e6 * row['ms'])}", True)
        for row in rows
    )


def _bar_rows(rows: Iterable[tuple[str, float, str, bool]]) -> str:
    """Title, length, what stands behind it, and whether it is ours."""
    found = list(rows)
    longest = max((length for _, length, _, _ in found), default=0.0)
    drawn = [
        f'<div class="bar{" ours" if ours else ""}"><div class="label">{escape(title)}</div>'
        f'<div class="track"><div class="fill" style="width:{72 * length / longest:.2f}%"></div>'
        f'<div class="value">{value}</div></div></div>'
        for title, length, value, ours in found
    ]
    return f'<div class="bars">{"".join(drawn)}</div>' if drawn else ""


def _length_chart(benchmark: Benchmark) -> str:
    """Time over tokens of one query, as `length.png` shows it."""
    if (png := length_png(benchmark)) is None:
        return ""
    words = "milliseconds over tokens; the table of every series has the figures"
    return f'<img alt="{words}" src="data:image/png;base64,{b64encode(png).decode()}">'


def _profile(benchmark: Benchmark) -> list[str]:
    return [
        _section(f"{PROFILE}: {shape}, {name}", _profile_chart(rows))
        for shape, tables in benchmark.facts.get("profile", {}).items()
        for name, rows in tables.items()
    ]


def _section(title: str, inner: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{inner}</section>" if inner else ""


def _table_section(table: Table) -> str:
    """A table under its title; the longest one is folded away."""
    if table.title != EVERY_SERIES:
        return _section(table.title, _table(table))
    return f"<section><details><summary>{escape(table.title)}</summary>{_table(table)}</details></section>"


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in table.headers)
    head = f"<thead><tr>{head}</tr></thead>" if any(table.headers) else ""
    rows = "".join(
        ('<tr class="strong">' if row.strong else "<tr>")
        + "".join(f"<td>{escape(cell)}</td>" for cell in row.cells)
        + "</tr>"
        for row in table.rows
    )
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    return f'<div class="scroll"><table class="{table.kind}">{head}<tbody>{rows}</tbody></table></div>{note}'
