"""Figures of the pages, from what was recorded by `benchmarks.figures.record`.

A page holds `<!-- figures: NAME -->` and `<!-- /figures: NAME -->`, and between them what
`benchmarks/results/targets/NAME.json` says.
"""

import json
import re
from pathlib import Path

from benchmarks.figures import FOLDER, recorded

from tools.pages import filled, table

_MARK = re.compile(r"<!-- (figures: ([a-z0-9-]+)) -->\n")


def with_figures(page: str, folder: Path = FOLDER) -> str:
    """A page with every marked place filled from the results."""
    return filled(page, {mark: figure_table(name, folder) for mark, name in _MARK.findall(page)})


def figure_table(name: str, folder: Path = FOLDER) -> str:
    """The recorded figures of one target as Markdown; says so where there are none."""
    figures = recorded(name, folder)
    if not figures:
        return "Not recorded yet."
    result = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    columns = 3 if any(figure.aim for figure in figures) else 2
    rows = [(figure.what, figure.shown(), figure.aim)[:columns] for figure in figures]
    shown = table(("figure", "value", "aim")[:columns], rows, figures=False)
    return f"{shown}\n\nMeasured by `{result['command']}` on {result['machine']}."
