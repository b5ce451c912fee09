"""docs/gateway-speed.md: what stands around the figures of the recorded run."""

from benchmarks.serving.suite import SUITE
from tests.support.harness.page import Page
from tests.support.places import ROOT

HEAD = """# Speed of the gateway

What serving costs beside a call of the bare router, beside other servers of the same model, and beside an
upstream that is asked directly. This page is written by `python -m benchmarks.serving` from a recorded run.
"""

TAIL = """## Run it yourself

| command | what it does |
| --- | --- |
| `python -m benchmarks.serving --size medium` | every check, about five minutes on two quiet cores |
| `python -m benchmarks.serving --only S4` | one check |
| `nox -s peers` | installs what S3 compares with, in its own environment |

How the load is made and what decides: [reliability](reliability.md#run-it-yourself).

Not compared with: Infinity 0.0.78 installs, but its optimum engine finds no ONNX file in a local directory;
text-embeddings-inference and Triton were not tried.
"""

PAGE = Page(
    suite=SUITE,
    path=ROOT / "docs" / "gateway-speed.md",
    record=ROOT / "docs" / "record" / "gateway-speed.md",
    results=ROOT / "benchmarks" / "results" / "serving" / "results.json",
    parts={"S": "Speed"},
    head=HEAD,
    tail=TAIL,
)
