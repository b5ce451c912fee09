"""What a command says while it works."""

import sys


def tell(line: str) -> None:
    """One line on standard error, at once."""
    print(line, file=sys.stderr, flush=True)
