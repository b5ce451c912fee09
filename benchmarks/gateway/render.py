"""docs/reliability.md from the results: every figure comes from a recorded run."""

from pathlib import Path

from benchmarks.gateway.measure import Entry, Measure, Results

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"

PARTS = {
    "S": "Speed",
    "A": "Load and overload",
    "B": "Upstreams that fail, and fallback",
    "C": "Starting, stopping, reloading",
    "F": "Hostile texts",
    "G": "The HTTP surface",
    "H": "Secrets and privacy",
    "I": "Memory, threads and processes",
}

HEAD = """# Reliability of the gateway

What [the gateway](gateway.md) promises when something goes wrong, and what came of trying it. This page
is written by `python -m benchmarks.gateway` from a recorded run: change the harness or the gateway, not
it.
"""

HOW = """## Run it yourself

| command | what it does |
| --- | --- |
| `make reliability-small` | every check, small, as continuous integration runs it |
| `python -m benchmarks.gateway --size medium` | every check, twenty minutes on two quiet cores |
| `make soak` | the full sizes |
| `python -m benchmarks.gateway --only A2,B` | one check, or one part |
| `make peers` | installs what S3 compares with, and G1 and G4 fuzz with, each in its own environment |

The gateway is a process of its own on core 0, started as an operator starts it; the load comes from core
1 over loopback. Requests leave on schedule whatever the answers do (open loop), and latency counts from
the scheduled time, so a stalled server cannot hide its stall. C is what one core serves at most,
measured first, one text a request, with the cache off. Upstreams are raw sockets that follow a script:
refuse, hang, reset, stall, lie. After the hostile cases one good request must be answered.

A count decides on every machine. A time or a speed decides only on a quiet one: it is shown beside its
target, and a run does not fail because of it unless `--strict` says so. Zero of n cases means that the
true share is below 3/n with 95 % confidence.
"""

NOT_RUN = """## What is not here

* Other systems: all of this is Linux, loopback, two cores. Delay and loss come from the scripted
  upstream.
* Parts D, E and J concern the artifact and the package, so the test suite tries them: crashes and
  tampering in `tests/artifact/`, imports in `tests/serve/test_import.py`. That sessions are freed on
  a reload (I3) is C7's figure for memory.
* Quotas of real control groups (I4): the threads are checked against affinities here, and against a
  group's files in `tests/runtime/test_session.py`.
* Servers that S3 does not compare with: Infinity 0.0.78 installs, but its optimum engine finds no ONNX
  file in a local directory; text-embeddings-inference and Triton were not tried.
"""


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


def render(results: Results) -> str:
    """The page."""
    entries = sorted(results.entries, key=lambda entry: (list(PARTS).index(entry.id[0]), int(entry.id[1:])))
    counts = sum(len([m for m in entry.measures if m.target is not None]) for entry in entries)
    missed = [entry for entry in entries if not entry.holds]
    parts = [HEAD, _summary(results, counts, missed), _scoreboard(entries)]
    for letter, title in PARTS.items():
        chosen = [entry for entry in entries if entry.id.startswith(letter)]
        if chosen:
            parts.append(f"## {letter}: {title}\n")
            parts += [_detail(entry) for entry in chosen]
    return "\n".join([*parts, HOW, NOT_RUN]).rstrip() + "\n"


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
