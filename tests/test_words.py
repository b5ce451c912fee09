"""The words of pages, settings, messages and docstrings: plain terms that a reader can search for."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VAGUE = re.compile(
    r"\b(whoever|nobody|anybody|for so long|at (?:most|least) so many|of late|refuses? to know|stand-in)\b",
    re.IGNORECASE,
)
"""Words that name no mechanism and no unit."""
PAGES = [*ROOT.glob("*.md"), *(ROOT / "src").rglob("*.py"), *(ROOT / "docs").rglob("*.md")]


def test_no_page_and_no_docstring_uses_a_vague_word() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match[0]}"
        for path in PAGES
        # Recorded runs keep the words of their day.
        if "record" not in path.parts and path.name != "reliability.md"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if (match := VAGUE.search(line))
    ]
    assert len(PAGES) > 100
    assert not found, "\n".join(found)
