"""Try every promise of the gateway, and write down what came of it.

    python -m tests.reliability --size small|medium|full [--only A1,B] [--output FILE]

Small is for every change (a few minutes; only counts decide), medium takes twenty minutes, full takes hours.
Results are JSON in FILE, where a run with --only replaces its checks; docs/reliability.md is rendered from
the medium or full ones. The exit code is 1 where a count missed its target, or with --strict a time.
"""

import sys

from tests.reliability import checks  # noqa: F401 - puts them into the suite
from tests.reliability.page import PAGE
from tests.support.harness.runner import main

if __name__ == "__main__":
    sys.exit(main(PAGE, __doc__))
