"""A suite's document from its recorded results: no figure in it is typed by hand."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.harness.measure import Entry, Measure, Results, Suite


@dataclass(frozen=True, slots=True)
class Page:
    """A suite's two documents: the scoreboard, and the record of every figure behind it.

    Attributes:
        suite: the checks; claims and tests are told as they stand there.
        path: the scoreboard.
        record: every figure and how it was taken.
        results: the recorded run that both are rendered from.
        parts: titles by the letter that checks' ids begin with, in the order of the pages.
        head: title and first paragraph of the scoreboard.
        tail: its sections after the figures.
    """

    suite: Suite
    path: Path
    record: Path
    results: Path
    parts: Mapping[str, str]
    head: str
    tail: str

    def write(self) -> None:
        """Render both documents."""
        for path, text in self.render(Results.read(self.results)).items():
            path.write_text(text, encoding="utf-8")

    def render(self, results: Results) -> dict[Path, str]:
        """The text of each document."""
        entries = sorted(results.entries, key=lambda entry: self._place(entry.id))
        board = [self.head, _summary(results, entries), ONE_FIGURE]
        record = [RECORD_HEAD.format(title=self.head.splitlines()[0].removeprefix("# "), page=self.path.name)]
        for letter, title in self.parts.items():
            chosen = [entry for entry in entries if entry.id.startswith(letter)]
            if not chosen:
                continue
            board += [f"## {letter}: {title}\n", self._scoreboard(chosen)]
            record += [f"## {letter}: {title}\n", *(self._detail(entry) for entry in chosen)]
        texts = {self.path: [*board, self.tail], self.record: record}
        return {path: "\n".join(parts).rstrip() + "\n" for path, parts in texts.items()}

    def _place(self, id: str) -> tuple[int, int]:
        return list(self.parts).index(id[0]), int(id[1:])

    def _scoreboard(self, entries: list[Entry]) -> str:
        lines = ["| | claim | measured | target | |", "| --- | --- | --- | --- | --- |"]
        record = self.record.relative_to(self.path.parent).as_posix()
        for entry in entries:
            judged = [m for m in entry.measures if m.target is not None]
            shown = next((m for m in judged if not m.holds), judged[0] if judged else None)
            link = f"[{entry.id}]({record}#{entry.id.lower()})"
            row = ["-", "-"] if shown is None else [_in_short(shown), target(shown)]
            row = [link, self.suite.checks[entry.id].claim, *row, verdict(entry)]
            lines.append(f"| {' | '.join(row)} |")
        return "\n".join(lines) + "\n"

    def _detail(self, entry: Entry) -> str:
        check = self.suite.checks[entry.id]
        lines = [f"### {entry.id}\n", f"{check.claim}.\n"]
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
        where = f"{check.run.__module__}.{check.run.__name__}".removeprefix(f"{self.suite.package}.")
        notes = [f"Check: `{where}`, {entry.took_s:.0f} s"]
        if check.tests:
            notes.append(f"small, in the test suite: `{check.tests}`")
        if check.reference:
            notes.append(f"elsewhere: {check.reference}")
        if entry.seeds:
            notes.append(f"seed {', '.join(map(str, entry.seeds))}")
        return "\n".join([*lines, "", ". ".join(notes) + ".", *([entry.remark] if entry.remark else []), ""])


ONE_FIGURE = """Each line shows one figure: the first that missed its target, or else the first.
The link leads to all of them.
"""

RECORD_HEAD = """# {title}: the record

Every figure behind the [scoreboard](../{page}), how many cases stand behind it, and the check that took it.
"""


def figure(measure: Measure) -> str:
    """A value with its unit and target, for the terminal."""
    return _value(measure) if measure.target is None else f"{_value(measure)} ({target(measure)})"


def _in_short(measure: Measure) -> str:
    """A figure in one cell: its name, its value, and of how many cases a zero is."""
    of = f" of {measure.n}" if measure.bound is not None else ""
    return f"{measure.name}: {_value(measure)}{of}"


def _value(measure: Measure) -> str:
    return f"{number(measure.value)} {measure.unit}".rstrip()


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


def _summary(results: Results, entries: list[Entry]) -> str:
    counts = sum(m.target is not None for entry in entries for m in entry.measures)
    missed = [entry.id for entry in entries if not entry.holds]
    environment = results.environment
    tried = sum(entry.was_run for entry in results.entries)
    lines = [
        f"Of {tried} promises with {counts} figures, {tried - len(missed)} were kept"
        + (f"; these were not: {', '.join(missed)}." if missed else "."),
        "",
        f"Size `{results.size}`, {results.started}, {results.took_s / 60:.0f} minutes; "
        f"{environment['cpu']}, {environment['usable']} processors"
        + (", gateway and load on one each" if results.pinned else ", not pinned")
        + f", load {environment['load']} at the start; Python {environment['python']}, "
        + ", ".join(f"{name} {found}" for name, found in environment["packages"].items())
        + ".",
    ]
    return "\n".join(lines) + "\n"


def _cells(measure: Measure) -> list[str]:
    """Measured, target, cases, bound."""
    return [
        _value(measure),
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
