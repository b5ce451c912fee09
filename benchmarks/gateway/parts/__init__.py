"""The checks, one file a part of the table; importing a file puts its checks into `CHECKS`."""

# The order of the page and of a run.
# ruff: noqa: F401
# isort: off
from benchmarks.gateway.measure import CHECKS
from benchmarks.gateway.parts import speed, peers, relay
from benchmarks.gateway.parts import load
from benchmarks.gateway.parts import upstreams, streams, hedging, who_answers
from benchmarks.gateway.parts import lifecycle, workers, confined
from benchmarks.gateway.parts import texts, tokenizers
from benchmarks.gateway.parts import fuzz, parsers, surface, reach
from benchmarks.gateway.parts import privacy
from benchmarks.gateway.parts import memory, soak
# isort: on

__all__ = ["CHECKS"]
