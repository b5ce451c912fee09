"""Upstreams that fail before the first byte: who answers then, and when no other may."""

from collections.abc import Callable
from itertools import product

import pytest
from tests.support.fake_upstream import (
    FakeUpstream,
    answer,
    hang_up,
)
from tests.support.faulty_answers import FAULTS
from tests.support.running import Running
from tests.support.tiny_artifact import CLOUD_TEXT, LOCAL_TEXT

from pointsman.serve.upstream.breaker import Breaker

Start = Callable[..., Running]
BOTH_WAYS = {"fallback": ["local-to-cloud", "cloud-to-local"]}


def test_without_leave_nobody_stands_in(both: Start, local: FakeUpstream, cloud: FakeUpstream) -> None:
    gateway = both(upstream={"breaker_failures": 1000})
    for name, (script, status, code) in FAULTS.items():
        gateway.gateway.upstreams.get("cloud").breaker = Breaker(1000, 1)  # type: ignore[union-attr]
        gateway.wait_for_first_byte("cloud", 0.2 if name == "stall" else 60.0)
        cloud.script = script
        found = gateway.chat()
        assert (found.status_code, found.json()["error"]["code"]) == (status, code), name
        assert found.json()["pointsman"]["target"] == found.headers["x-pointsman-target"] == "cloud"
        assert int(found.headers["retry-after"]) >= 1
        assert found.headers["x-should-retry"] == ("true" if status == 429 else "false")
    assert not local.seen


def test_with_leave_the_other_one_answers_and_it_is_said(
    both: Start, local: FakeUpstream, cloud: FakeUpstream
) -> None:
    gateway = both(routing=BOTH_WAYS, upstream={"breaker_failures": 1000})
    for name, (script, _, _) in FAULTS.items():
        gateway.gateway.upstreams.get("cloud").breaker = Breaker(1000, 1)  # type: ignore[union-attr]
        gateway.wait_for_first_byte("cloud", 0.2 if name == "stall" else 60.0)
        cloud.script = script
        found = gateway.chat()
        assert found.status_code == 200, name
        decision = found.json()["pointsman"]
        assert (decision["target"], decision["upstream"]) == ("cloud", "local"), name
        assert decision["fallback"] == found.headers["x-pointsman-fallback"]
    # One that hangs up on a connection that was kept is asked once more, on a fresh one.
    assert len(FAULTS) == len(local.seen) <= len(cloud.seen) <= len(FAULTS) + 1
    assert gateway.gateway.live.fallbacks == len(FAULTS)


def test_leave_is_for_one_direction(both: Start, local: FakeUpstream, cloud: FakeUpstream) -> None:
    gateway = both(routing={"fallback": ["cloud-to-local"]})
    local.script = hang_up
    assert gateway.chat(LOCAL_TEXT).status_code == 502
    assert not cloud.seen


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_client_error_is_an_answer_and_not_a_failure(
    both: Start, local: FakeUpstream, cloud: FakeUpstream, status: int
) -> None:
    gateway = both(routing=BOTH_WAYS, upstream={"breaker_failures": 1})
    cloud.script = answer(status, b'{"error":{"message":"no"}}')
    for _ in range(3):
        assert gateway.chat().status_code == status
    assert (len(cloud.seen), len(local.seen)) == (3, 0)


def test_429_is_kept_for_as_long_as_the_upstream_asked(
    both: Start, local: FakeUpstream, cloud: FakeUpstream
) -> None:
    gateway = both(routing=BOTH_WAYS)
    cloud.script = answer(429, headers="retry-after: 100\r\n")
    for _ in range(5):
        assert gateway.chat().json()["pointsman"]["upstream"] == "local"
    assert (len(cloud.seen), len(local.seen)) == (1, 5)


def test_429_without_a_stand_in_is_passed_on_with_its_time(both: Start, cloud: FakeUpstream) -> None:
    cloud.script = answer(429, headers="retry-after: 17\r\n")
    found = both().chat()
    assert (found.status_code, found.headers["retry-after"]) == (429, "17")


class TestLocalOnly:
    def test_nothing_of_it_reaches_the_cloud_whatever_breaks(
        self, both: Start, local: FakeUpstream, cloud: FakeUpstream
    ) -> None:
        rules = [{"name": "private", "send": "local-only", "keywords": ["payroll"]}]
        gateway = both(
            routing={**BOTH_WAYS, "rules": rules, "default_target": "cloud"},
            upstream={"first_byte_timeout_s": 0.2, "breaker_failures": 2, "breaker_open_s": 0.01},
        )
        hints = {"x-pointsman-policy": "local-only"}
        ways = [
            {"text": f"{CLOUD_TEXT} payroll"},
            {"text": f"{CLOUD_TEXT} payroll", "model": "cloud"},
            {"text": f"{CLOUD_TEXT} payroll", "headers": {"x-pointsman-policy": "cloud-only"}},
            {"text": f"{CLOUD_TEXT} \uff30\uff41\uff59\u200broll"},
            {"text": CLOUD_TEXT, "headers": hints},
            {"text": CLOUD_TEXT, "headers": hints, "model": "cloud"},
            {"text": CLOUD_TEXT, "headers": hints, "stream": True},
        ]
        scripts = [script for script, _, _ in FAULTS.values()]
        for way, script in product(ways, scripts):
            local.script = script
            gateway.gateway.upstreams.get("local").breaker = Breaker(1000, 1)  # type: ignore[union-attr]
            rest = dict(way)
            found = gateway.chat(str(rest.pop("text")), **rest)
            assert found.status_code in (429, 503)
            assert found.json()["error"]["code"] in ("local_unavailable", "upstream_rate_limited")
            assert int(found.headers["retry-after"]) >= 1
        assert cloud.connections == 0

    def test_cloud_only_does_not_fall_back_either(
        self, both: Start, local: FakeUpstream, cloud: FakeUpstream
    ) -> None:
        gateway = both(routing=BOTH_WAYS)
        cloud.script = hang_up
        assert gateway.chat(headers={"x-pointsman-policy": "cloud-only"}).status_code == 502
        assert not local.seen
