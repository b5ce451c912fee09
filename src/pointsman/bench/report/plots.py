"""Plots as PNG, for the HTML report and for pages that cannot show it: a README, a model card."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, StrMethodFormatter

from pointsman.bench.report.series import bars, over_length
from pointsman.bench.report.tables import OURS, milliseconds
from pointsman.bench.results import Backend, Benchmark, Scenario

OURS_COLOR, OTHER_COLOR, INK, SOFT = "#0f766e", "#b4bac4", "#1d2430", "#5c6675"
PAPER = "#ffffff"
DPI = 160

LATENCY_PLOT = "latency.png"
LENGTH_PLOT = "length.png"


def write_plots(benchmark: Benchmark, folder: Path) -> tuple[Path, ...]:
    """Write the plots that the measured scenarios allow into an existing folder; returns their paths."""
    plots = {}
    shown = [one for one in benchmark.scenarios if one.shape in ("1x16", "32x32")]
    chosen = [one for one in shown if one.threads == _threads(shown, one.shape)]
    if chosen:
        plots[LATENCY_PLOT] = _png(_latency_figure(benchmark, chosen))
    if (png := length_png(benchmark)) is not None:
        plots[LENGTH_PLOT] = png
    for name, data in plots.items():
        (folder / name).write_bytes(data)
    return tuple(folder / name for name in plots)


def length_png(benchmark: Benchmark) -> bytes | None:
    """The plot of time over tokens; None where no backend was measured at two lengths."""
    series = over_length(benchmark)
    return _png(_length_figure(series)) if series else None


def _threads(scenarios: Sequence[Scenario], shape: str) -> int:
    """One thread for single queries, all of them for batches."""
    counts = [one.threads for one in scenarios if one.shape == shape]
    return min(counts) if shape.startswith("1x") else max(counts)


def _latency_figure(benchmark: Benchmark, scenarios: Sequence[Scenario]) -> Figure:
    figure = Figure(figsize=(9.6, 3.4), layout="constrained", facecolor=PAPER)
    for index, scenario in enumerate(scenarios):
        axes = figure.add_subplot(1, len(scenarios), index + 1)
        _bars(axes, benchmark, scenario)
    figure.suptitle(f"{benchmark.subject}, {benchmark.environment.cpu}", fontsize=9, color=SOFT)
    return figure


def _bars(axes: Axes, benchmark: Benchmark, scenario: Scenario) -> None:
    """Median milliseconds of every backend in one scenario, the first on top."""
    found = bars(benchmark, scenario)[::-1]
    times = [time / 1e6 for _, time, _ in found]
    colors = [OURS_COLOR if backend.name in OURS else OTHER_COLOR for backend, _, _ in found]
    axes.barh([backend.title for backend, _, _ in found], times, color=colors, height=0.68)
    for row, (_, time, faster) in enumerate(found):
        text = f" {milliseconds(time)}{faster and f'  {faster}'}"
        axes.text(time / 1e6, row, text, va="center", fontsize=8, color=INK)
    axes.set_xlim(0, max(times, default=1.0) * 1.45)
    axes.set_title(scenario.name, fontsize=10, color=INK, loc="left")
    axes.xaxis.set_visible(False)
    axes.tick_params(length=0, labelsize=8, labelcolor=INK)
    axes.spines[:].set_visible(False)


def _length_figure(series: Sequence[tuple[Backend, Sequence[tuple[int, float]]]]) -> Figure:
    figure = Figure(figsize=(7.2, 4.4), layout="constrained", facecolor=PAPER)
    axes = figure.add_subplot()
    for backend, points in series:
        ours = backend.name in OURS
        xs, ys = zip(*points, strict=True)
        color, width = (OURS_COLOR, 2.4) if ours else (OTHER_COLOR, 1.6)
        axes.plot(xs, ys, color=color, linewidth=width, marker="o", markersize=4)
        name, ink = f"  {backend.title}", INK if ours else SOFT
        axes.annotate(name, (xs[-1], ys[-1]), va="center", fontsize=8, color=ink)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    lengths = sorted({length for _, points in series for length, _ in points})
    axes.set_xticks(lengths, [str(length) for length in lengths])
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.minorticks_off()
    axes.set_xlim(lengths[0] * 0.9, lengths[-1] * 4)
    axes.set_xlabel("tokens", fontsize=9, color=SOFT)
    axes.set_ylabel("ms", fontsize=9, color=SOFT)
    axes.set_title("Median time of one query", fontsize=10, color=INK, loc="left")
    axes.tick_params(labelsize=8, labelcolor=SOFT)
    axes.grid(axis="y", color="#e3e4df", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _png(figure: Figure) -> bytes:
    FigureCanvasAgg(figure)
    figure.savefig(data := BytesIO(), format="png", dpi=DPI)
    return data.getvalue()
