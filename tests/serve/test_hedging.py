"""A slow upstream and the one that stands in for it: who answers, who is let go, and who is never asked."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count

import pytest
from tests.support.fake_upstream import (
    DONE,
    STREAM_HEAD,
    FakeUpstream,
    Script,
    Wire,
    answer,
    chunk,
    completion,
    delta,
    stream,
)
from tests.support.running import Running, post_head
from tests.support.tiny_artifact import CLOUD_TEXT, LOCAL_TEXT
from tests.support.waiting import until

from pointsman.serve.upstream.breaker import RetryBudget

Start = Callable[..., Running]
AT_ONCE_S, NEVER_S = 0.05, 3600.0


def routing(after_s: float = AT_ONCE_S) -> dict[str, object]:
    return {"fallback": ["cloud-to-local"], "hedge_after_s": after_s, "stream_decision": "off"}


class Held:
    """A script that waits for a word, or for the other side to close."""

    def __init__(self, then: Script | None = None) -> None:
        self._then = then
        self.arrived, self.go, self.closed = threading.Event(), threading.Event(), threading.Event()

    def __call__(self, wire: Wire) -> None:
        self.arrived.set()
        if self._then is not None:
            assert self.go.wait(60)
            # Whoever lost may be gone already.
            with contextlib.suppress(OSError):
                self._then(wire)
        if wire.wait_for_close():
            self.closed.set()


def hedges(gateway: Running) -> dict[str, float]:
    gateway.settle()
    families = gateway.gateway.metrics.registry.collect()
    samples = [s for family in families if family.name == "pointsman_hedges" for s in family.samples]
    return {s.labels["outcome"]: s.value for s in samples if s.name.endswith("_total")}


@pytest.mark.parametrize("streams", [False, True])
def test_the_other_answers_for_a_silent_one_and_it_is_said(
    both: Start, local: FakeUpstream, cloud: FakeUpstream, streams: bool
) -> None:
    silent = cloud.script = Held()
    local.script = stream([delta("local"), DONE]) if streams else answer(body=completion("local"))
    gateway = both(routing=routing() | {"stream_decision": "comment"})
    found = gateway.chat(stream=streams)
    assert found.status_code == 200
    headers = {name: found.headers[f"x-pointsman-{name}"] for name in ("target", "upstream", "hedged")}
    assert headers == {"target": "cloud", "upstream": "local", "hedged": "true"}
    assert found.headers["x-pointsman-fallback"] == "slow"
    assert '"upstream": "local", "fallback": "slow"' in found.text and '"hedged": true' in found.text
    assert silent.closed.wait(60)
    assert (len(cloud.seen), len(local.seen)) == (1, 1)
    assert hedges(gateway) == {"other": 1}
    assert gateway.gateway.live.fallbacks == 1


def test_the_chosen_one_may_still_be_first_and_only_it_is_heard(
    both: Start, local: FakeUpstream, cloud: FakeUpstream
) -> None:
    first = cloud.script = Held(stream([delta("cloud"), DONE]))
    second = local.script = Held()
    gateway = both(routing=routing())

    def let_go() -> None:
        assert second.arrived.wait(60)
        first.go.set()

    thread = threading.Thread(target=let_go)
    thread.start()
    found = gateway.chat(stream=True)
    thread.join()
    assert found.content == delta("cloud") + DONE
    assert (found.headers["x-pointsman-upstream"], found.headers["x-pointsman-hedged"]) == ("cloud", "true")
    assert "x-pointsman-fallback" not in found.headers
    assert second.closed.wait(60)
    assert hedges(gateway) == {"chosen": 1}


def test_nothing_of_the_loser_is_heard_once_the_winner_has_begun(
    both: Start, local: FakeUpstream, cloud: FakeUpstream
) -> None:
    late = cloud.script = Held(stream([delta("cloud"), DONE]))

    def script(wire: Wire) -> None:
        wire.send(STREAM_HEAD + chunk(delta("local")))
        assert late.closed.wait(60)
        wire.send(chunk(DONE) + b"0\r\n\r\n")

    local.script = script
    body = {"model": "cloud", "stream": True, "messages": []}
    with both(routing=routing()).http.stream("POST", "/v1/chat/completions", json=body) as found:
        pieces = found.iter_raw()
        heard = next(pieces)
        # The loser speaks up in the middle of the winner's answer.
        late.go.set()
        heard += b"".join(pieces)
    assert heard == delta("local") + DONE


def test_a_quick_one_is_not_hedged(both: Start, local: FakeUpstream, cloud: FakeUpstream) -> None:
    gateway = both(routing=routing(NEVER_S))
    found = gateway.chat()
    assert "x-pointsman-hedged" not in found.headers
    assert "hedged" not in found.json()["pointsman"]
    assert (len(cloud.seen), len(local.seen), hedges(gateway)) == (1, 0, {})


def test_one_that_fails_in_time_is_a_fallback_and_no_hedge(
    both: Start, local: FakeUpstream, cloud: FakeUpstream
) -> None:
    cloud.script = answer(500)
    gateway = both(routing=routing(NEVER_S))
    decision = gateway.chat().json()["pointsman"]
    assert (decision["upstream"], decision["fallback"], "hedged" in decision) == ("local", "status", False)
    assert hedges(gateway) == {}


def test_one_that_fails_after_it_was_hedged_is_waited_for_no_more(
    both: Start, local: FakeUpstream, cloud: FakeUpstream
) -> None:
    first, second = Held(answer(500)), Held(answer())
    cloud.script, local.script = first, second
    gateway = both(routing=routing())

    def let_go() -> None:
        assert second.arrived.wait(60)
        first.go.set()
        labels = {"upstream": "cloud", "outcome": "status"}
        calls = gateway.gateway.metrics.registry.get_sample_value
        until(lambda: calls("pointsman_upstream_calls_total", labels))
        second.go.set()

    thread = threading.Thread(target=let_go)
    thread.start()
    decision = gateway.chat().json()["pointsman"]
    thread.join()
    assert (decision["upstream"], decision["fallback"], decision["hedged"]) == ("local", "status", True)
    # Each was asked once: a hedge that was sent is the fallback, too.
    assert (len(cloud.seen), len(local.seen)) == (1, 1)


@pytest.mark.parametrize(
    ("first", "second", "status", "code"),
    [
        (answer(500), answer(503), 502, "upstream_invalid"),
        (answer(429, headers="retry-after: 17\r\n"), answer(500), 429, "upstream_rate_limited"),
    ],
)
def test_where_both_fail_one_error_is_told(
    both: Start,
    local: FakeUpstream,
    cloud: FakeUpstream,
    first: Script,
    second: Script,
    status: int,
    code: str,
) -> None:
    late = cloud.script = Held(first)

    def script(wire: Wire) -> None:
        second(wire)
        late.go.set()

    local.script = script
    gateway = both(routing=routing())
    found = gateway.chat()
    assert (found.status_code, found.json()["error"]["code"]) == (status, code)
    assert found.json()["pointsman"]["hedged"] is True
    assert (len(cloud.seen), len(local.seen)) == (1, 1)
    assert hedges(gateway) == {"none": 1}


class TestNever:
    @pytest.fixture
    def silent(self, local: FakeUpstream, cloud: FakeUpstream) -> Iterator[tuple[Held, Held]]:
        both = local.script, cloud.script = Held(), Held()
        yield both

    def test_without_the_setting(self, both: Start, local: FakeUpstream, silent: tuple[Held, Held]) -> None:
        gateway = both(routing={"fallback": ["cloud-to-local"]})
        gateway.wait_for_first_byte("cloud", 0.2)
        local.script = answer()
        decision = gateway.chat().json()["pointsman"]
        assert (decision["fallback"], "hedged" in decision) == ("timeout", False)

    def test_in_a_direction_without_leave(
        self, both: Start, cloud: FakeUpstream, silent: tuple[Held, Held]
    ) -> None:
        gateway = both(routing=routing())
        gateway.wait_for_first_byte("local", 0.2)
        assert gateway.chat(LOCAL_TEXT).status_code == 504
        assert not cloud.connections

    def test_text_that_is_bound_to_its_target(
        self, both: Start, local: FakeUpstream, cloud: FakeUpstream, silent: tuple[Held, Held]
    ) -> None:
        rules = [{"name": "private", "send": "local-only", "keywords": ["payroll"]}]
        leave = {"fallback": ["cloud-to-local", "local-to-cloud"], "rules": rules}
        gateway = both(routing=routing(0.01) | leave)
        gateway.wait_for_first_byte("local", 0.2)
        gateway.wait_for_first_byte("cloud", 0.2)
        for streams in (False, True):
            assert gateway.chat(f"{CLOUD_TEXT} payroll", stream=streams).status_code == 503
            policy = {"x-pointsman-policy": "local-only"}
            assert gateway.chat(CLOUD_TEXT, stream=streams, headers=policy).status_code == 503
        # A request that was given up may still be on its way to the upstream's script.
        until(lambda: len(local.seen) == 4)
        assert cloud.connections == 0
        assert gateway.chat(CLOUD_TEXT, headers={"x-pointsman-policy": "cloud-only"}).status_code == 504
        until(lambda: len(cloud.seen) == 1)
        assert len(local.seen) == 4

    def test_an_upstream_that_asked_for_a_rest(
        self, both: Start, local: FakeUpstream, silent: tuple[Held, Held]
    ) -> None:
        gateway = both(routing=routing())
        gateway.wait_for_first_byte("cloud", 0.2)
        gateway.gateway.upstreams.get("local").breaker.hold(NEVER_S)  # type: ignore[union-attr]
        assert gateway.chat().status_code == 504
        assert not local.seen and hedges(gateway) == {}


def test_hedges_stay_in_the_budget_of_retries(both: Start, local: FakeUpstream, cloud: FakeUpstream) -> None:
    """The chosen one is silent until the gateway has decided, and then down; no time decides anything."""
    gateway = both(routing=routing(0.001), upstream={"breaker_failures": 10**6})
    refused = gateway.gateway.metrics.hedges.labels("cloud", "over_budget")
    hedged, before = 0, 0.0

    def script(wire: Wire) -> None:
        while not wire.wait_for_close(0.005):
            if refused._value.get() > before:
                wire.reset()
                return

    cloud.script = script
    n = 60
    for _ in range(n):
        before = refused._value.get()
        found = gateway.chat()
        assert found.status_code == 200
        hedged += "x-pointsman-hedged" in found.headers
    assert 3 <= hedged <= 0.1 * n + 3
    assert hedges(gateway) == {"other": hedged, "over_budget": n - hedged}


@pytest.mark.parametrize("streams", [False, True])
def test_a_client_that_leaves_takes_both_with_it(
    both: Start, local: FakeUpstream, cloud: FakeUpstream, streams: bool
) -> None:
    first, second = cloud.script, local.script = Held(), Held()
    gateway = both(routing=routing())
    body = b'{"model": "cloud", "messages": [], "stream": %s}' % str(streams).lower().encode()
    head = post_head("/v1/chat/completions", len(body))
    with socket.create_connection(("127.0.0.1", gateway.port)) as client:
        client.sendall(head + body)
        assert first.arrived.wait(60) and second.arrived.wait(60)
    assert first.closed.wait(60) and second.closed.wait(60)
    gateway.settle()
    assert gateway.gateway.chats == 0 and not gateway.gateway.streams


def test_a_deadline_ends_both(both: Start, local: FakeUpstream, cloud: FakeUpstream) -> None:
    first, second = cloud.script, local.script = Held(), Held()
    gateway = both(routing=routing())
    # On a busy machine the time may be over before both are asked.
    for deadline_ms in ("300", "3000", "30000"):
        found = gateway.chat(headers={"x-pointsman-deadline-ms": deadline_ms})
        assert found.status_code == 504
        if first.arrived.is_set() and second.arrived.is_set():
            break
    assert found.json()["error"]["code"] == "upstream_timeout"
    assert first.closed.wait(60) and second.closed.wait(60)


def test_whoever_is_first_answers_alone_under_load(
    both: Start, local: FakeUpstream, cloud: FakeUpstream
) -> None:
    turn = count()

    def named(name: str) -> Script:
        def script(wire: Wire) -> None:
            time.sleep(0.002 * (next(turn) % 5))
            stream([delta(name), delta(name), DONE])(wire)

        return script

    cloud.script, local.script = named("cloud"), named("local")
    gateway = both(routing=routing(0.004))
    gateway.gateway.upstreams.get("cloud").budget = RetryBudget(floor=10**6)  # type: ignore[union-attr]
    for _ in range(60):
        found = gateway.chat(stream=True)
        name = found.headers["x-pointsman-upstream"]
        assert found.content == delta(name) * 2 + DONE
