"""Measure what serving costs, and write it down.

    python -m benchmarks.serving --size small|medium|full [--only S1,S4] [--output FILE]

docs/gateway-speed.md is rendered from a medium or full run. A time never fails a run without --strict.
"""

import sys

from benchmarks.serving import decision_protocol, peers, relay, speed  # noqa: F401 - puts their checks into the suite
from benchmarks.serving.page import PAGE
from tests.support.harness.runner import main

if __name__ == "__main__":
    sys.exit(main(PAGE, __doc__))
