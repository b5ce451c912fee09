"""The plots of an evaluation report, from the same values as its tables."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pointsman.evaluation.quality import CURVE_POINTS, POOLED

_INK = "#1a1a1a"
_OURS = "#0b5fa5"
_OTHERS = tuple(
    (colour, style)
    for style in ("-", "--")
    for colour in ("#d98c21", "#2a9d8f", "#b03a8c", "#7a4a1e", "#8c8c8c")
)
_LEGEND_COLUMNS = 5
_SAME = 0.002
"""A curve that stays so near the router's, in mean score, is the router again: its float32 file, say."""
_COLUMNS = 3
_DPI = 80
_PNG_COLOURS = 128
_FEWEST_SHOWN = 20
"""A bin of fewer rows has no share worth a point."""


def draw_report(report: Mapping[str, Any], directory: Path) -> list[Path]:
    """Write `cost-quality.png` and `reliability.png`; nothing where there are no measured sets."""
    if "sets" not in report:
        return []
    return [
        _grid(report, directory / "cost-quality.png", _draw_curves),
        _grid(report, directory / "reliability.png", _draw_reliability),
    ]


def _grid(report: Mapping[str, Any], path: Path, draw: Any) -> Path:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = [name for name in report["sets"] if name != POOLED]
    names.append(POOLED)
    rows = -(-len(names) // _COLUMNS)
    figure = Figure(figsize=(4.2 * _COLUMNS, 3.4 * rows), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = np.atleast_1d(figure.subplots(rows, _COLUMNS, squeeze=False).ravel())
    for axis in axes[len(names) :]:
        axis.remove()
    for axis, name in zip(axes, names, strict=False):
        draw(axis, report["sets"][name], report)
        axis.set_title(f"{name} ({report['sets'][name]['rows']:,} rows)", fontsize=10, color=_INK)
        axis.spines[["top", "right"]].set_visible(False)
    handles, labels = axes[0].get_legend_handles_labels()
    columns = min(len(labels), _LEGEND_COLUMNS)
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=11, frameon=False)
    _save_small(figure, path)
    return path


def _save_small(figure: Any, path: Path) -> None:
    """As a PNG of few colours: a report lives beside the code, and lines need no more."""
    from PIL import Image

    figure.canvas.draw()
    image = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")
    image.quantize(_PNG_COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


def _draw_curves(axis: Any, found: Mapping[str, Any], report: Mapping[str, Any]) -> None:
    shares = np.linspace(0.0, 1.0, CURVE_POINTS)
    for name, colour, style in _drawn(report):
        width = {"lw": 2.2, "zorder": 3} if name == report["router"] else {"lw": 1.1}
        axis.plot(shares, found["ranking"][name]["curve"], color=colour, ls=style, label=name, **width)
    ends = found["ranking"][report["router"]]["figures"]
    axis.plot([0, 1], [ends["weak"]["value"], ends["strong"]["value"]], color="0.6", ls=":", label="chance")
    axis.set_xlabel("share of strong calls", fontsize=8)
    axis.set_ylabel("mean score", fontsize=8)
    axis.tick_params(labelsize=7)


def _drawn(report: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Name, colour and line style of every curve worth a line: not chance twice, nor the router twice."""
    curves = {name: np.asarray(r["curve"]) for name, r in report["sets"][POOLED]["ranking"].items()}
    ours = curves.pop(report["router"])
    others = [n for n, curve in curves.items() if n != "random" and np.abs(curve - ours).max() > _SAME]
    styles = [_OTHERS[i % len(_OTHERS)] for i in range(len(others))]
    return [
        (report["router"], _OURS, "-"),
        *((n, colour, style) for n, (colour, style) in zip(others, styles, strict=True)),
    ]


def _draw_reliability(axis: Any, found: Mapping[str, Any], report: Mapping[str, Any]) -> None:
    bins = [b for b in found["decisions"]["reliability"] if b["count"]]
    total = sum(b["count"] for b in bins)
    axis.plot([0, 1], [0, 1], color="0.6", ls=":", label="honest")
    axis.bar(
        [(b["low"] + b["high"]) / 2 for b in bins],
        [b["count"] / total for b in bins],
        width=[0.9 * (b["high"] - b["low"]) for b in bins],
        color="0.88",
        label="share of rows",
    )
    shown = [b for b in bins if b["count"] >= _FEWEST_SHOWN]
    predicted, observed = [b["predicted"] for b in shown], [b["observed"] for b in shown]
    axis.plot(predicted, observed, color=_OURS, marker="o", ms=3, label=report["router"])
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1)
    axis.set_xlabel("predicted p_cloud", fontsize=8)
    axis.set_ylabel("cloud is better, observed", fontsize=8)
    axis.tick_params(labelsize=7)
