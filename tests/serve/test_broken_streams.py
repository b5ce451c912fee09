"""Streams that break after the first byte."""

import json
import threading
from collections.abc import Callable
from itertools import product

from tests.support.fake_upstream import (
    DONE,
    STREAM_HEAD,
    FakeUpstream,
    Script,
    Wire,
    chunk,
    delta,
    hang_up,
    stream,
)
from tests.support.faulty_answers import stall
from tests.support.running import Running

from pointsman.serve.upstream.sse import MAX_EVENT_BYTES

Start = Callable[..., Running]
BOTH_WAYS = {"fallback": ["local-to-cloud", "cloud-to-local"]}


class TestAfterTheFirstByte:
    PIECES = (delta("one"), delta("tw\u00f6"), delta("three"), DONE)

    def broken_after(self, sent: bytes, how: Callable[[Wire], None]) -> Script:
        def script(wire: Wire) -> None:
            wire.send(STREAM_HEAD)
            for index in range(0, len(sent), 7):
                wire.send(chunk(sent[index : index + 7]))
            how(wire)

        return script

    def test_whole_events_then_one_error_and_no_done(
        self, both: Start, local: FakeUpstream, cloud: FakeUpstream
    ) -> None:
        gateway = both(
            routing={**BOTH_WAYS, "stream_decision": "off"},
            upstream={"idle_timeout_s": 0.2, "breaker_failures": 10**6},
        )
        whole = b"".join(self.PIECES)
        first = len(self.PIECES[0])
        ends = [
            first,
            first + 1,
            first + 30,
            len(whole) - len(DONE) - 1,
            len(whole) - len(DONE),
            len(whole) - 5,
        ]
        for cut, how in product(ends, (hang_up, stall)):
            cloud.script = self.broken_after(whole[:cut], how)
            found = gateway.chat(stream=True)
            events = found.content.split(b"\n\n")
            assert events.pop() == b""
            error = json.loads(events.pop().removeprefix(b"data: "))
            said = b"".join(event + b"\n\n" for event in events)
            # Which whole events arrived before a reset is the kernel's choice; each is whole, in order.
            assert whole.startswith(said) and said
            assert error["error"]["code"] in ("upstream_invalid", "upstream_timeout")
            assert error["error"]["request_id"] == found.headers["x-request-id"]
            assert error["pointsman"]["target"] == "cloud"
            assert DONE not in found.content
        # Something had been said: nobody repeats it.
        assert not local.seen

    def test_a_stall_ends_with_exactly_what_came(self, both: Start, cloud: FakeUpstream) -> None:
        gateway = both(routing={"stream_decision": "off"}, upstream={"idle_timeout_s": 0.2})
        sent = self.PIECES[0] + self.PIECES[1] + b"data: {half"
        # At once: a busy machine puts no pause between the pieces then.
        cloud.script = lambda wire: (wire.send(STREAM_HEAD + chunk(sent)), stall(wire))[1]
        found = gateway.chat(stream=True)
        prefix, _, rest = found.content.partition(b'data: {"error"')
        assert prefix == self.PIECES[0] + self.PIECES[1]
        assert b'"upstream_timeout"' in rest

    def test_an_event_too_long_to_be_held_is_ended_before_the_error_is_told(
        self, both: Start, cloud: FakeUpstream
    ) -> None:
        sent = b"data: " + b"x" * (2 * MAX_EVENT_BYTES)

        def script(wire: Wire) -> None:
            wire.send(STREAM_HEAD + chunk(sent))
            wire.wait_for_close()

        cloud.script = script
        gateway = both(routing={"stream_decision": "off"}, upstream={"idle_timeout_s": 1.0})
        said, error, rest = gateway.chat(stream=True).content.split(b"\n\n")
        assert sent.startswith(said) and len(said) > MAX_EVENT_BYTES
        assert b'"upstream_timeout"' in error and not rest

    def test_a_body_that_only_the_connections_end_ends_needs_its_done(
        self, both: Start, cloud: FakeUpstream
    ) -> None:
        def bare(pieces: bytes) -> Script:
            def script(wire: Wire) -> None:
                wire.send(b"HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + pieces)
                wire.finish()

            return script

        gateway = both(routing={"stream_decision": "off"})
        cloud.script = bare(delta("x") + DONE)
        assert gateway.chat(stream=True).content == delta("x") + DONE
        cloud.script = bare(delta("x"))
        assert b'"upstream_invalid"' in gateway.chat(stream=True).content

    def test_a_half_read_connection_is_never_used_again(self, both: Start, cloud: FakeUpstream) -> None:
        gateway = both(routing={"stream_decision": "off"}, upstream={"breaker_failures": 10**6})

        def script(wire: Wire) -> None:
            name = wire.headers["x-request-id"]
            if name.startswith("cut"):
                wire.send(STREAM_HEAD + chunk(delta(name)))
                wire.send(b"ffff\r\ndata: ")
                wire.reset()
            else:
                stream([delta(name), DONE])(wire)

        cloud.script = script
        for index in range(40):
            name = f"{'cut' if index % 2 else 'good'}.{index}."
            found = gateway.chat(stream=True, headers={"x-request-id": name})
            others = [f".{other}.".encode() for other in range(40) if other != index]
            assert not any(other in found.content for other in others)
            if not index % 2:
                assert found.content == delta(name) + DONE

    def test_a_client_that_does_not_read_is_not_the_upstreams_fault(
        self, both: Start, cloud: FakeUpstream
    ) -> None:
        closed = threading.Event()

        def endless(wire: Wire) -> None:
            try:
                wire.send(STREAM_HEAD)
                while True:
                    wire.send(chunk(b"data: " + b"x" * 65_536 + b"\n\n"))
            finally:
                closed.set()

        cloud.script = endless
        gateway = both(upstream={"idle_timeout_s": 0.2, "breaker_failures": 1})
        body = {"model": "cloud", "stream": True, "messages": []}
        with gateway.http.stream("POST", "/v1/chat/completions", json=body):
            assert closed.wait(60)
        gateway.settle()
        assert not gateway.gateway.upstreams.get("cloud").breaker.is_open  # type: ignore[union-attr]
