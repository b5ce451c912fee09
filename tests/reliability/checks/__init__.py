"""The checks, one file a subject; importing a file puts its checks into the suite."""

# The order of the page and of a run.
# ruff: noqa: F401
# isort: off
from tests.reliability.checks import load
from tests.reliability.checks import upstreams, streams, hedging, routing_policy
from tests.reliability.checks import lifecycle, workers, resource_limits
from tests.reliability.checks import integrity
from tests.reliability.checks import texts, tokenizers
from tests.reliability.checks import fuzz, parsers, malformed_http, access_control
from tests.reliability.checks import privacy
from tests.reliability.checks import paid_calls
from tests.reliability.checks import memory, soak
from tests.reliability.checks import standing
# isort: on
