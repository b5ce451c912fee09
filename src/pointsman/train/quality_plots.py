"""The plots of an evaluation report, from the same values as its tables."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pointsman.evaluation.quality import CURVE_POINTS, POOLED

_INK = "#1a1a1a"
_COLOURS = ("#0b5fa5", "#c0504d", "#8c8c8c", "#8064a2", "#d98c21", "#2a9d8f", "#b03a8c", "#7a4a1e")
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
    axes[0].legend(fontsize=7, frameon=False)
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
    for index, (name, ranking) in enumerate(found["ranking"].items()):
        style = {"lw": 2.2, "zorder": 3} if name == report["router"] else {"lw": 1.1}
        colour = _COLOURS[index % len(_COLOURS)]
        axis.plot(shares, ranking["curve"], color=colour, label=name, **style)
    ends = found["ranking"][report["router"]]["figures"]
    axis.plot([0, 1], [ends["weak"]["value"], ends["strong"]["value"]], color="0.6", ls=":", label="chance")
    axis.set_xlabel("share of strong calls", fontsize=8)
    axis.set_ylabel("mean score", fontsize=8)
    axis.tick_params(labelsize=7)


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
    axis.plot(predicted, observed, color=_COLOURS[0], marker="o", ms=3, label=report["router"])
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1)
    axis.set_xlabel("predicted p_cloud", fontsize=8)
    axis.set_ylabel("cloud is better, observed", fontsize=8)
    axis.tick_params(labelsize=7)
