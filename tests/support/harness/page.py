"""A suite's document from its recorded results: no figure in it is typed by hand."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.harness.measure import Entry, Measure, Results


@dataclass(frozen=True, slots=True)
class Page:
    """What a suite's document says around its figures, and where it is.

    Attributes:
        path: the document.
        results: the recorded run that it is rendered from.
        parts: titles by the letter that checks' ids begin with, in the order of the page.
        head: title and first paragraph.
        tail: sections after the figures.
    """

    path: Path
    results: Path
    parts: Mapping[str, str]
    head: str
    tail: str

    def write(self) -> None:
        """Render the document."""
        self.path.write_text(self.render(Results.read(self.results)), encoding="utf-8")

    def render(self, results: Results) -> str:
        """The document's text."""
        order = list(self.parts)
        entries = sorted(results.entries, key=lambda entry: (order.index(entry.id[0]), int(entry.id[1:])))
        counts = sum(len([m for m in entry.measures if m.target is not None]) for entry in entries)
        missed = [entry for entry in entries if not entry.holds]
        parts = [self.head, _summary(results, counts, missed), _scoreboard(entries)]
        for letter, title in self.parts.items():
            chosen = [entry for entry in entries if entry.id.startswith(letter)]
            if chosen:
                parts.append(f"## {letter}: {title}\n")
                parts += [_detail(entry) for entry in chosen]
        return "\n".join([*parts, self.tail]).rstrip() + "\n"


def figure(measure: Measure) -> str:
    """A value with its unit and target, for the terminal."""
    text = f"{number(measure.value)} {measure.unit}".rstrip()
    return text if measure.target is None else f"{text} ({target(measure)})"


def number(value: float) -> str:
    """Three digits that count; whole numbers whole."""
    return f"{value:.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:.3g}"


def verdict(entry: Entry) -> str:
    """In one word, the worst first."""
    if entry.error:
        return "**broke off**"
    if not entry.was_run:
        return "not run"
    if not entry.counts_hold:
        return "**missed**"
    return "kept" if entry.holds else "**slower than promised**"


def _summary(results: Results, counts: int, missed: list[Entry]) -> str:
    environment = results.environment
    tried = sum(entry.was_run for entry in results.entries)
    lines = [
        f"Of {tried} promises with {counts} figures, {tried - len(missed)} were kept"
        + (f"; these were not: {', '.join(entry.id for entry in missed)}." if missed else "."),
        "",
        f"Size `{results.size}`, {results.started}, {results.took_s / 60:.0f} minutes; "
        f"{environment['cpu']}, {environment['usable']} processors"
        + (", gateway and load on one each" if results.pinned else ", not pinned")
        + f", load {environment['load']} at the start; Python {environment['python']}, "
        + ", ".join(f"{name} {found}" for name, found in environment["packages"].items())
        + ".",
    ]
    return "\n".join(lines) + "\n"


def _scoreboard(entries: list[Entry]) -> str:
    lines = [
        "## Scoreboard\n",
        "One figure of each, the first that missed its target or else the first; all follow below.\n",
        "| | claim | figure | measured | target | cases | 95 % bound | verdict |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for entry in entries:
        judged = [m for m in entry.measures if m.target is not None]
        shown = next((m for m in judged if not m.holds), judged[0] if judged else None)
        row = ["-"] * 5 if shown is None else [shown.name, *_cells(shown)]
        lines.append("| " + " | ".join([entry.id, entry.claim, *row, verdict(entry)]) + " |")
    return "\n".join(lines) + "\n"


def _cells(measure: Measure) -> list[str]:
    """Measured, target, cases, bound."""
    return [
        f"{number(measure.value)} {measure.unit}".rstrip(),
        target(measure),
        str(measure.n or "-"),
        "-" if measure.bound is None else f"{100 * measure.bound:.2g} %",
    ]


def target(measure: Measure) -> str:
    """What was promised."""
    if measure.target is None:
        return "-"
    sense = "" if measure.sense == "==" else f"{measure.sense} "
    return f"{sense}{number(measure.target)}"


def _detail(entry: Entry) -> str:
    lines = [f"### {entry.id}. {entry.claim}\n"]
    if entry.error:
        lines.append(f"It broke off: {entry.error}\n")
    if entry.measures:
        lines += [
            "| figure | measured | target | cases | 95 % bound | |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
    for m in entry.measures:
        mark = "" if m.target is None else "kept" if m.holds else "**missed**"
        lines.append("| " + " | ".join([m.name, *_cells(m), mark]).rstrip() + " |")
    notes = [f"Harness: `{entry.harness}`, {entry.took_s:.0f} s"]
    if entry.tests:
        notes.append(f"small, in the test suite: `{entry.tests}`")
    if entry.reference:
        notes.append(f"elsewhere: {entry.reference}")
    if entry.seeds:
        notes.append(f"seed {', '.join(map(str, entry.seeds))}")
    return "\n".join([*lines, "", ". ".join(notes) + ".", *([entry.remark] if entry.remark else []), ""])
