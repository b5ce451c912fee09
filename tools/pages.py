"""The marked places of a page, and what a program writes between their marks."""

from collections.abc import Mapping, Sequence

from pointsman.errors import DataError


def filled(page: str, places: Mapping[str, str]) -> str:
    """The page with what stands between each `<!-- NAME -->` and `<!-- /NAME -->` replaced.

    Raises:
        DataError: a mark is missing.
    """
    for name, text in places.items():
        begin, end = f"<!-- {name} -->\n", f"\n<!-- /{name} -->"
        before, found, rest = page.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise DataError(
                f"the page has no place for {name!r}: expected {begin.strip()} and {end.strip()}."
            )
        page = f"{before}{found}{text}{closed}{after}"
    return page


def table(head: Sequence[str], rows: Sequence[Sequence[object]], figures: bool = True) -> str:
    """A Markdown table; with `figures`, every column but the first is aligned for numbers."""
    rule = "--:" if figures else "---"
    lines = [head, ["---", *[rule] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
