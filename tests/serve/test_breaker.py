"""Calls that a failing upstream is spared: the circuit breaker and the retry budget."""

import sys
from collections.abc import Callable

import httpx
import pytest
from tests.support.fake_upstream import (
    FakeUpstream,
    answer,
    free_port,
)
from tests.support.running import Process, Running, settings_for

from pointsman.serve.upstream.breaker import Breaker

if sys.platform != "win32":
    import resource

Start = Callable[..., Running]


def test_a_dead_upstream_is_not_asked_again_and_again(artifact: object, start: Start) -> None:
    dead = {"url": f"http://127.0.0.1:{free_port()}/v1", "breaker_failures": 3, "breaker_open_s": 3600}
    gateway = start(settings_for(artifact, upstreams={"cloud": dead}))  # type: ignore[arg-type]
    for _ in range(10):
        assert gateway.chat().json()["error"]["code"] == "upstream_unreachable"
    calls = gateway.gateway.metrics.registry.get_sample_value(
        "pointsman_upstream_calls_total", {"upstream": "cloud", "outcome": "unreachable"}
    )
    assert calls == 3


def test_retries_stay_in_their_budget(artifact: object, start: Start) -> None:
    dead = {
        "url": f"http://127.0.0.1:{free_port()}/v1",
        "retries": 3,
        "breaker_failures": 10**6,
    }
    gateway = start(settings_for(artifact, upstreams={"cloud": dead}))  # type: ignore[arg-type]
    n = 100
    for _ in range(n):
        assert gateway.chat().status_code == 502
    calls = gateway.gateway.metrics.registry.get_sample_value(
        "pointsman_upstream_calls_total", {"upstream": "cloud", "outcome": "unreachable"}
    )
    assert calls is not None
    assert n < calls <= 1.1 * n + 3


def test_a_probe_closes_the_breaker_again(both: Start, cloud: FakeUpstream) -> None:
    gateway = both()
    upstream, now = gateway.gateway.upstreams.get("cloud"), [0.0]
    assert upstream is not None
    upstream.breaker = Breaker(2, 3600, lambda: now[0])
    good, cloud.script = cloud.script, answer(500)
    for _ in range(5):
        gateway.chat()
    assert len(cloud.seen) == 2
    cloud.script = good
    assert gateway.chat().status_code == 502
    now[0] = 3600.0
    assert gateway.chat().status_code == 200
    assert not upstream.breaker.is_open


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits another process")
def test_descriptors_that_are_used_up_are_our_own_failure(
    spawn: Callable[..., Process], cloud: FakeUpstream
) -> None:
    cloud.script = answer(headers="connection: close\r\n")
    gateway = spawn(
        POINTSMAN_UPSTREAMS__CLOUD__URL=cloud.url,
        POINTSMAN_UPSTREAMS__CLOUD__MODEL="m",
        POINTSMAN_UPSTREAMS__CLOUD__BREAKER_FAILURES="1",
    )
    with httpx.Client(base_url=gateway.url, timeout=60, trust_env=False) as client:

        def chat() -> httpx.Response:
            return client.post("/v1/chat/completions", json={"model": "cloud", "messages": []})

        assert chat().status_code == 200
        most = resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE, (3, most[1]))
        for _ in range(5):
            found = chat()
            assert (found.status_code, found.json()["error"]["code"]) == (503, "overloaded")
            assert found.headers["x-should-retry"] == "true"
        resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE, most)
        # The upstream's breaker would open after one failure.
        assert chat().status_code == 200
    assert gateway.stop() == 0
