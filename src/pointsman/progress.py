"""Progress of long work, line by line: where it is told, and how the command line shows it."""

import sys
from collections.abc import Callable

Progress = Callable[[str], None]
"""Is told one line at a time."""


def tell(line: str) -> None:
    """Show a line on standard error at once; standard output holds results alone."""
    print(printable(line), file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """A text without what a terminal would obey; line feeds stay."""
    return "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)
