"""Progress of long work, line by line: where it is told, and how the command line shows it."""

import sys
from collections.abc import Callable

Progress = Callable[[str], None]
"""Is told one line at a time."""


def tell(line: str) -> None:
    """Show a line on standard error at once; standard output holds results alone."""
    print(line, file=sys.stderr, flush=True)
