"""The suite that the checks of this package are put into."""

from tests.support.harness.measure import Suite

SUITE = Suite("benchmarks.serving")
check = SUITE.check
