"""Figures recorded as data by what measured them; `python -m tools` writes them into the pages."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pointsman.bench.environment import Environment

FOLDER = Path(__file__).resolve().parent / "results" / "targets"


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured or counted value.

    Attributes:
        what: what it is, as a row of a table says it.
        value: the number, or words where it is none.
        unit: of the number; empty where there is none.
        aim: what it should be, where that was said beforehand.
    """

    what: str
    value: float | str
    unit: str = ""
    aim: str = ""

    def shown(self) -> str:
        """The value with its unit, three digits that matter."""
        if isinstance(self.value, str):
            return self.value
        whole = isinstance(self.value, int) or abs(self.value) >= 100
        text = f"{self.value:,.0f}" if whole else f"{self.value:.3g}"
        return f"{text} {self.unit}".rstrip()


def record(
    name: str, command: str, figures: Sequence[Figure], environment: Environment, folder: Path = FOLDER
) -> Path:
    """Write the figures of one target, with the command that prints them and the machine that it ran on.

    The environment is captured before anything runs: afterwards, the load would be our own.
    """
    machine = f"{environment.usable} of {environment.processors} processors, {environment.cpu}"
    result: dict[str, Any] = {
        "command": command,
        "machine": f"{machine}, Python {environment.python}, load {environment.load} at the start",
        "figures": [asdict(figure) for figure in figures],
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def recorded(name: str, folder: Path = FOLDER) -> list[Figure]:
    """The figures of one target; none where nothing is recorded."""
    path = folder / f"{name}.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["figures"] if path.is_file() else []
    return [Figure(**row) for row in rows]
