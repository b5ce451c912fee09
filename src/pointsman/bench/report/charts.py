"""Charts as HTML and SVG text, drawn from figures: no script, no font, no image, readable on a phone."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from math import log10
from typing import Any

from pointsman.bench.goals import Figure
from pointsman.bench.report.series import bars, over_length
from pointsman.bench.report.tables import OURS, milliseconds, ratio_in_words
from pointsman.bench.results import Benchmark, Scenario

WIDTH, HEIGHT = 590, 380
LEFT, RIGHT, TOP, BOTTOM = 62, 200, 14, 44
_LABEL_GAP = 17.0


@dataclass(frozen=True, slots=True)
class Line:
    """One series of a line chart: (x, y) points, each above 0."""

    title: str
    points: tuple[tuple[float, float], ...]
    ours: bool


def bar_chart(benchmark: Benchmark, scenario: Scenario) -> str:
    """Horizontal bars, one a backend: median time, and how many times faster than the first."""
    return _bars(
        (backend.title, time, f"{milliseconds(time)}{faster and f' · {faster}'}", backend.name in OURS)
        for backend, time, faster in bars(benchmark, scenario)
    )


def profile_chart(rows: Sequence[Mapping[str, Any]]) -> str:
    """Horizontal bars, one a part of a run: its share and its time."""
    return _bars(
        (row["part"], row["ms"], f"{row['percent']:.1f} % · {milliseconds(1e6 * row['ms'])}", True)
        for row in rows
    )


def _bars(rows: Iterable[tuple[str, float, str, bool]]) -> str:
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


def goal_chart(figures: Sequence[Figure]) -> str:
    """Every figure to reach as a rail: how far it came, where the floor and the aim are."""
    rows = [_goal(figure) for figure in figures]
    key = (
        '<div class="key"><span><i style="background:var(--ours)"></i>aim reached</span>'
        '<span><i style="background:var(--other)"></i>between floor and aim</span>'
        '<span><i style="background:var(--bad)"></i>below the floor</span>'
        '<span><i class="tick" style="background:var(--ink)"></i>floor</span>'
        '<span><i class="tick" style="background:var(--aim)"></i>aim</span></div>'
    )
    return f'{key}<div class="goals">{"".join(rows)}</div>' if rows else ""


def _goal(figure: Figure) -> str:
    goal, found = figure.goal, figure.measured
    highest = max(goal.aim, goal.floor or 0.0, found.high if found else 0.0) * 1.08

    def at(value: float) -> str:
        return f"{100 * value / highest:.2f}%"

    marks = f'<s class="aim" style="left:{at(goal.aim)}"></s>'
    if goal.floor is not None:
        marks += f'<s style="left:{at(goal.floor)}"></s>'
    fill, value = "", "not measured"
    if found is not None:
        spread = 100 * (found.high - found.low) / highest
        fill = f'<i style="width:{at(found.median)}"></i>'
        fill += f'<em style="left:{at(found.low)};width:{spread:.2f}%"></em>'
        value = f"{found.median:.2f}{goal.unit}"
    state = {"aim reached": " reached", "below the floor": " under"}.get(figure.verdict, "")
    floor = "" if goal.floor is None else f"floor {goal.floor:g}{goal.unit}, "
    foot = figure.reason or (ratio_in_words(found, goal.unit) if found else "")
    return (
        f'<div class="goal{state}"><div class="head"><div>{_code(goal.title)} '
        f'<span class="where">· {escape(figure.scenario or goal.shape)}</span></div>'
        f'<div class="value">{value}</div></div><div class="rail">{fill}{marks}</div>'
        f'<div class="foot"><span>{escape(foot)}</span>'
        f"<span>{floor}aim {goal.aim:g}{goal.unit}</span></div></div>"
    )


def length_chart(benchmark: Benchmark) -> str:
    """Time over tokens of one query on one thread (or the fewest there are), both axes logarithmic."""
    lines = [
        Line(backend.title, tuple((float(x), y) for x, y in points), backend.name in OURS)
        for backend, points in over_length(benchmark)
    ]
    return line_chart(lines, "tokens", "ms") if lines else ""


def line_chart(lines: Sequence[Line], x_title: str, y_title: str) -> str:
    """Lines over two logarithmic axes, each named at its right end."""
    xs = sorted({x for line in lines for x, _ in line.points})
    ys = [y for line in lines for _, y in line.points]
    ticks = ticks_over(min(ys), max(ys))
    low, high = min(ticks[0], min(ys)), max(ticks[-1], max(ys))

    def place(x: float, y: float) -> tuple[float, float]:
        across = log10(x / xs[0]) / (log10(xs[-1] / xs[0]) or 1.0)
        up = log10(y / low) / (log10(high / low) or 1.0)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    parts = []
    for tick in ticks:
        _, y = place(xs[0], tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 9}" y="{y + 4:.1f}" text-anchor="end">{tick:g} {y_title}</text>')
    for tick in xs:
        x, _ = place(tick, low)
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{tick:g}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_title)}</text>')
    placed = [[place(x, y) for x, y in line.points] for line in lines]
    labels = _apart([points[-1][1] for points in placed])
    for line, points, label in sorted(zip(lines, placed, labels, strict=True), key=lambda item: item[0].ours):
        parts.append(_drawn(line, points, label))
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(y_title)} over '
        f'{escape(x_title)}">{"".join(parts)}</svg>'
    )


def _drawn(line: Line, points: Sequence[tuple[float, float]], label: float) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>' for x, y in points)
    end_x, end_y = points[-1]
    title = line.title if len(line.title) <= 24 else f"{line.title[:23].rstrip(' ,')}…"
    return (
        f'<g class="{"ours" if line.ours else "other"}"><title>{escape(line.title)}</title>'
        f'<polyline class="series" points="{path}"/>{dots}'
        f'<line class="leader" x1="{end_x + 5:.1f}" y1="{end_y:.1f}" x2="{end_x + 14:.1f}" y2="{label:.1f}"/>'
        f'<text x="{end_x + 17:.1f}" y="{label + 4:.1f}">{escape(title)}</text></g>'
    )


def ticks_over(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten, from the last under `low` to the first over `high`."""
    steps = [m * 10.0**e for e in range(-6, 9) for m in (1, 2, 5)]
    first = max((i for i, step in enumerate(steps) if step <= low), default=0)
    last = min((i for i, step in enumerate(steps) if step >= high), default=len(steps) - 1)
    return steps[first : last + 1]


def _apart(heights: Sequence[float]) -> list[float]:
    """Heights of labels, moved down until they do not overlap, then up as far as the chart's floor asks."""
    order = sorted(range(len(heights)), key=heights.__getitem__)
    placed = list(heights)
    for before, after in pairwise(order):
        placed[after] = max(placed[after], placed[before] + _LABEL_GAP)
    if order:
        over = max(0.0, placed[order[-1]] - (HEIGHT - BOTTOM))
        placed = [height - over for height in placed]
    return placed


def _code(text: str) -> str:
    """Escaped text with `code` marked."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))
