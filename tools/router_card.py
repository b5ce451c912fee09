"""A model card's figures, written from the report of `pointsman evaluate`, never by hand.

Between two marks of the card stands a table; `python -m tools.router_card REPORT CARD` writes it again.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pointsman.errors import DataError

BEGIN = "<!-- figures: written by tools.router_card -->"
END = "<!-- end of figures -->"


def fill_card(report: Mapping[str, Any], card: str) -> str:
    """The card with its figures replaced by the report's.

    Args:
        report: what `pointsman evaluate` wrote as evaluation.json.
        card: Markdown with the two marks.

    Raises:
        DataError: the card has no marks, or the report lacks what the card says.
    """
    before, found, rest = card.partition(BEGIN)
    _, closed, after = rest.partition(END)
    if not found or not closed:
        raise DataError(f"the card has no place for figures: expected {BEGIN!r} and {END!r}.")
    try:
        figures = render_figures(report)
    except (KeyError, TypeError) as error:
        raise DataError(f"the report lacks {error}: evaluate with --suite and --recipe.") from None
    return f"{before}{BEGIN}\n\n{figures}\n\n{END}{after}"


def render_figures(report: Mapping[str, Any]) -> str:
    """The most asked for figures of a report, as Markdown tables."""
    router = report["router"]
    lines = ["| test set | rows | AUC | APGR | ECE |", "| --- | --- | --- | --- | --- |"]
    for name, part in report["sets"].items():
        ranking = part["ranking"][router]["figures"]
        error = part["decisions"]["figures"]["calibration_error"]
        cells = (_shown(ranking["auc"]), _shown(ranking["apgr"]), _shown(error))
        lines.append(f"| {name} | {part['rows']:,} | {' | '.join(cells)} |")
    lines += ["", "| kind of traffic | rows | ECE |", "| --- | --- | --- |"]
    for name, part in report["kinds"].items():
        lines.append(f"| {name} | {part['rows']:,} | {_shown(part['calibration_error'])} |")
    lines += ["", "| everyday slice | belongs | rows | goes there |", "| --- | --- | --- | --- |"]
    for part in report["everyday"]:
        right = _shown(part["figures"]["target_right"])
        lines.append(f"| {part['name']} | {part['label']} | {part['rows']:,} | {right} |")
    flips = report["flips"]["figures"]
    lines += ["", f"Decisions that flip when a query is edited: {_shown(flips['all edits'])}."]
    lines += ["", "Values with their 95 % bootstrap intervals, from", "", f"    {report['command']}"]
    return "\n".join(lines)


def _shown(figure: Mapping[str, float]) -> str:
    return f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"


if __name__ == "__main__":
    evaluation, path = Path(sys.argv[1]), Path(sys.argv[2])
    filled = fill_card(json.loads(evaluation.read_text(encoding="utf-8")), path.read_text(encoding="utf-8"))
    path.write_text(filled, encoding="utf-8")
