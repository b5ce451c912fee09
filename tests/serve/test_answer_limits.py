"""Deadlines and sizes of answers, and what a failed call leaves in memory."""

import gc
import threading
from collections.abc import Callable

import pytest
from tests.support.fake_upstream import (
    FakeUpstream,
    Wire,
    answer,
    chunk,
)
from tests.support.faulty_answers import cut_in_body, no_http, stall
from tests.support.running import Running

from pointsman.serve.upstream.upstreams import CallFailedError

Start = Callable[..., Running]
BOTH_WAYS = {"fallback": ["local-to-cloud", "cloud-to-local"]}


def test_a_deadline_covers_everything(both: Start, local: FakeUpstream, cloud: FakeUpstream) -> None:
    # The upstreams' own limit is longer than the client of this test waits.
    gateway = both(routing=BOTH_WAYS, upstream={"first_byte_timeout_s": 600.0})
    closed = threading.Event()

    def stall_and_tell(wire: Wire) -> None:
        if wire.wait_for_close():
            closed.set()

    cloud.script = local.script = stall_and_tell
    # On a busy machine the time may be over before the upstream is asked.
    for deadline_ms in ("300", "3000", "30000"):
        found = gateway.chat(headers={"x-pointsman-deadline-ms": deadline_ms})
        assert found.status_code == 504
        if cloud.seen:
            break
    assert found.json()["error"]["code"] == "upstream_timeout"
    assert closed.wait(60)


@pytest.mark.parametrize("asked", ["0", "-5", "soon", "1.5", "9999999999"])
def test_a_deadline_is_whole_milliseconds(both: Start, asked: str) -> None:
    assert both().chat(headers={"x-pointsman-deadline-ms": asked}).status_code == 400


def test_an_endless_answer_is_cut(both: Start, cloud: FakeUpstream) -> None:
    def endless(wire: Wire) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            wire.send(chunk(b" " * 65536))

    cloud.script = endless
    found = both(limits={"answer_bytes": 1_000_000}).chat()
    assert (found.status_code, found.json()["error"]["code"]) == (502, "upstream_invalid")


def test_one_that_announces_too_much_is_not_read_at_all(both: Start, cloud: FakeUpstream) -> None:
    def gigabyte(wire: Wire) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000000000\r\n\r\n"
        wire.send(head)
        assert wire.wait_for_close()

    cloud.script = gigabyte
    found = both().chat()
    assert (found.status_code, found.json()["error"]["code"]) == (502, "upstream_invalid")


def test_nothing_of_a_failed_answer_waits_for_the_collector(both: Start, cloud: FakeUpstream) -> None:
    gateway = both(upstream={"breaker_failures": 10**6, "first_byte_timeout_s": 0.2})
    gc.collect()
    gc.disable()
    try:
        for cloud.script in (cut_in_body, stall, answer(500), answer(body=b"no"), no_http):
            assert gateway.chat().status_code >= 500
            gateway.settle()
        left = [thing for thing in gc.get_objects() if isinstance(thing, CallFailedError | OSError)]
        assert not left
    finally:
        gc.enable()
