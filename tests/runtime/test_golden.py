"""What the shipped router decides, kept: whoever changes a decision on purpose says so by rewriting the file.

rm tests/golden/decisions.jsonl
pointsman batch tests/golden/queries.jsonl tests/golden/decisions.jsonl
"""

import json
from pathlib import Path

import pytest

from pointsman import Router

GOLDEN = Path(__file__).parents[1] / "golden" / "decisions.jsonl"
KEPT = [json.loads(line) for line in GOLDEN.read_text(encoding="utf-8").splitlines()]
_OTHER_CPUS = 0.03
"""int8 kernels round differently with and without VNNI."""


@pytest.fixture(scope="module")
def router() -> Router:
    return Router.open()


def test_the_kept_queries_are_of_every_reason_and_target() -> None:
    assert {(one["target"], one["reason"]) for one in KEPT} >= {
        ("local", "model"),
        ("cloud", "model"),
        ("cloud", "low_confidence"),
        ("cloud", "empty_text"),
        ("cloud", "unreadable_text"),
    }
    assert {one["truncated"] for one in KEPT} == {True, False}


@pytest.mark.parametrize("kept", KEPT, ids=lambda kept: ascii(kept["query"][:30]))
def test_decides_as_before(router: Router, kept: dict[str, object]) -> None:
    decision = router.route(str(kept["query"]))
    assert decision.p_cloud == pytest.approx(kept["p_cloud"], abs=_OTHER_CPUS)
    assert decision.truncated is kept["truncated"]
    policy = router.policy
    edges = (policy.cloud_threshold, policy.confidence_threshold, 1.0 - policy.confidence_threshold)
    if min(abs(decision.p_cloud - edge) for edge in edges) > _OTHER_CPUS:
        assert (decision.target, decision.reason) == (kept["target"], kept["reason"])
