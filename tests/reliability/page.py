"""docs/reliability.md: what stands around the figures of the recorded run."""

from tests.reliability.suite import SUITE
from tests.support.harness.page import Page
from tests.support.places import ROOT

PARTS = {
    "A": "Load and overload",
    "B": "Upstreams that fail, and fallback",
    "C": "Starting, stopping, reloading",
    "D": "The artifact and the policy",
    "F": "Hostile texts",
    "G": "The HTTP surface",
    "H": "Secrets and privacy",
    "I": "Memory, threads and processes",
    "L": "From a log to a router: calls that are paid",
    "K": "One request, client, log reader or web page against all others",
}

HEAD = """# Reliability of the gateway

What [the gateway](gateway.md) promises when something goes wrong, and what came of trying it. This page
is written by `python -m tests.reliability` from a recorded run: change the harness or the gateway, not
it.
"""

HOW = """## Run it yourself

| command | what it does |
| --- | --- |
| `nox -s reliability` | every check, small, as continuous integration runs it |
| `python -m tests.reliability --size medium` | every check, twenty minutes on two quiet cores |
| `nox -s reliability -- --size full` | the full sizes |
| `python -m tests.reliability --only A2,B` | one check, or one part |
| `nox -s peers` | installs what G1 and G4 fuzz with, each in its own environment |

The gateway is a process of its own on core 0, started as an operator starts it; the load comes from core
1 over loopback. Requests leave on schedule whatever the answers do (open loop), and latency counts from
the scheduled time, so a stalled server cannot hide its stall. C is what one core serves at most,
measured first, one text a request, with the cache off. Upstreams are raw sockets that follow a script:
refuse, hang, reset, stall, lie. After the hostile cases one good request must be answered.

A count decides on every machine. A time or a speed decides only on a quiet one: it is shown beside its
target, and a run does not fail because of it unless `--strict` says so. Zero of n cases means that the
true share is below 3/n with 95 % confidence.
"""

NOT_RUN = """## What is not here

* Other systems: all of this is Linux, loopback, two cores. Delay and loss come from the scripted
  upstream.
* Crashes while an artifact is written, and the package (E, J), are tried by the test suite: crashes and
  tampering in `tests/artifact/`, imports in `tests/serve/test_import.py`. That sessions are freed on
  a reload (I3) is C7's figure for memory.
* Quotas of real control groups (I4): the threads are checked against affinities here, and against a
  group's files in `tests/runtime/test_session.py`.
"""


PAGE = Page(
    suite=SUITE,
    path=ROOT / "docs" / "reliability.md",
    record=ROOT / "docs" / "record" / "reliability.md",
    results=ROOT / "tests" / "reliability" / "results.json",
    parts=PARTS,
    head=HEAD,
    tail=f"{HOW}\n{NOT_RUN}",
)
