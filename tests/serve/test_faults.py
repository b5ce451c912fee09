"""Upstreams that fail in every way there is: who answers then, what is said, what is never done."""

import gc
import json
import threading
import time
from collections.abc import Callable
from itertools import product

import pytest
from tests.support.fake_upstream import (
    DONE,
    STREAM_HEAD,
    FakeUpstream,
    Script,
    Wire,
    answer,
    chunk,
    delta,
    free_port,
    hang_up,
    stream,
)
from tests.support.running import Running, settings_for
from tests.support.tiny_artifact import CLOUD_TEXT, LOCAL_TEXT

from pointsman.serve.upstream.breaker import Breaker
from pointsman.serve.upstream.sse import MAX_EVENT_BYTES
from pointsman.serve.upstream.upstreams import CallFailedError

Start = Callable[..., Running]
BOTH_WAYS = {"fallback": ["local-to-cloud", "cloud-to-local"]}


def stall(wire: Wire) -> None:
    wire.wait_for_close()


def html(wire: Wire) -> None:
    wire.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\nhi")


def redirect(wire: Wire) -> None:
    wire.send(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n")


def cut_in_body(wire: Wire) -> None:
    wire.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{")
    wire.reset()


def gzipped(wire: Wire) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\n"
    wire.send(head + b"content-length: 3\r\n\r\nabc")


def empty_stream(wire: Wire) -> None:
    wire.send(STREAM_HEAD + b"0\r\n\r\n")


def no_http(wire: Wire) -> None:
    wire.send(b"SSH-2.0-OpenSSH_9.6\r\n")
    wire.finish()


BEFORE_THE_FIRST_BYTE: dict[str, tuple[Script, int, str]] = {
    "reset": (hang_up, 502, "upstream_unreachable"),
    "stall": (stall, 504, "upstream_timeout"),
    "500": (answer(500), 502, "upstream_invalid"),
    "503": (answer(503), 502, "upstream_invalid"),
    "429": (answer(429), 429, "upstream_rate_limited"),
    "html": (html, 502, "upstream_invalid"),
    "redirect": (redirect, 502, "upstream_invalid"),
    "no json": (answer(body=b"{'a': 1}"), 502, "upstream_invalid"),
    "json list": (answer(body=b"[1]"), 502, "upstream_invalid"),
    "cut": (cut_in_body, 502, "upstream_unreachable"),
    "gzip": (gzipped, 502, "upstream_invalid"),
    "empty stream": (empty_stream, 502, "upstream_invalid"),
    "no http": (no_http, 502, "upstream_invalid"),
}


class TestBeforeTheFirstByte:
    def test_without_leave_nobody_stands_in(
        self, both: Start, local: FakeUpstream, cloud: FakeUpstream
    ) -> None:
        gateway = both(upstream={"first_byte_timeout_s": 1.0, "breaker_failures": 1000})
        for name, (script, status, code) in BEFORE_THE_FIRST_BYTE.items():
            gateway.gateway.upstreams.get("cloud").breaker = Breaker(1000, 1)  # type: ignore[union-attr]
            cloud.script = script
            found = gateway.chat()
            assert (found.status_code, found.json()["error"]["code"]) == (status, code), name
            assert found.json()["pointsman"]["target"] == found.headers["x-pointsman-target"] == "cloud"
            assert int(found.headers["retry-after"]) >= 1
            assert found.headers["x-should-retry"] == ("true" if status == 429 else "false")
        assert not local.seen

    def test_with_leave_the_other_one_answers_and_it_is_said(
        self, both: Start, local: FakeUpstream, cloud: FakeUpstream
    ) -> None:
        gateway = both(routing=BOTH_WAYS, upstream={"first_byte_timeout_s": 1.0, "breaker_failures": 1000})
        for name, (script, _, _) in BEFORE_THE_FIRST_BYTE.items():
            gateway.gateway.upstreams.get("cloud").breaker = Breaker(1000, 1)  # type: ignore[union-attr]
            cloud.script = script
            found = gateway.chat()
            assert found.status_code == 200, name
            decision = found.json()["pointsman"]
            assert (decision["target"], decision["upstream"]) == ("cloud", "local"), name
            assert decision["fallback"] == found.headers["x-pointsman-fallback"]
        assert len(local.seen) == len(cloud.seen) == len(BEFORE_THE_FIRST_BYTE)
        assert gateway.gateway.live.fallbacks == len(BEFORE_THE_FIRST_BYTE)

    def test_leave_is_for_one_direction(self, both: Start, local: FakeUpstream, cloud: FakeUpstream) -> None:
        gateway = both(routing={"fallback": ["cloud-to-local"]})
        local.script = hang_up
        assert gateway.chat(LOCAL_TEXT).status_code == 502
        assert not cloud.seen

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
    def test_a_client_error_is_an_answer_and_not_a_failure(
        self, both: Start, local: FakeUpstream, cloud: FakeUpstream, status: int
    ) -> None:
        gateway = both(routing=BOTH_WAYS, upstream={"breaker_failures": 1})
        cloud.script = answer(status, b'{"error":{"message":"no"}}')
        for _ in range(3):
            assert gateway.chat().status_code == status
        assert (len(cloud.seen), len(local.seen)) == (3, 0)

    def test_429_is_kept_for_as_long_as_the_upstream_asked(
        self, both: Start, local: FakeUpstream, cloud: FakeUpstream
    ) -> None:
        gateway = both(routing=BOTH_WAYS)
        cloud.script = answer(429, headers="retry-after: 100\r\n")
        for _ in range(5):
            assert gateway.chat().json()["pointsman"]["upstream"] == "local"
        assert (len(cloud.seen), len(local.seen)) == (1, 5)

    def test_429_without_a_stand_in_is_passed_on_with_its_time(
        self, both: Start, cloud: FakeUpstream
    ) -> None:
        cloud.script = answer(429, headers="retry-after: 17\r\n")
        found = both().chat()
        assert (found.status_code, found.headers["retry-after"]) == (429, "17")

    def test_a_dead_upstream_is_not_asked_again_and_again(self, artifact: object, start: Start) -> None:
        dead = {"url": f"http://127.0.0.1:{free_port()}/v1", "breaker_failures": 3, "breaker_open_s": 0.05}
        gateway = start(settings_for(artifact, upstreams={"cloud": dead}))  # type: ignore[arg-type]
        for _ in range(10):
            assert gateway.chat().json()["error"]["code"] == "upstream_unreachable"
        calls = gateway.gateway.metrics.registry.get_sample_value(
            "pointsman_upstream_calls_total", {"upstream": "cloud", "outcome": "unreachable"}
        )
        assert calls == 3

    def test_a_deadline_covers_everything(
        self, both: Start, local: FakeUpstream, cloud: FakeUpstream
    ) -> None:
        gateway = both(routing=BOTH_WAYS)
        closed = threading.Event()

        def stall_and_tell(wire: Wire) -> None:
            if wire.wait_for_close():
                closed.set()

        cloud.script = local.script = stall_and_tell
        started = time.monotonic()
        found = gateway.chat(headers={"x-pointsman-deadline-ms": "1000"})
        assert found.json()["error"]["code"] == "upstream_timeout"
        # Far below the upstreams' own ten seconds each; the exact overrun is measured elsewhere.
        assert time.monotonic() - started < 5
        assert closed.wait(10)

    @pytest.mark.parametrize("asked", ["0", "-5", "soon", "1.5", "9999999999"])
    def test_a_deadline_is_whole_milliseconds(self, both: Start, asked: str) -> None:
        assert both().chat(headers={"x-pointsman-deadline-ms": asked}).status_code == 400

    def test_an_endless_answer_is_cut(self, both: Start, cloud: FakeUpstream) -> None:
        def endless(wire: Wire) -> None:
            wire.send(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
            )
            while True:
                wire.send(chunk(b" " * 65536))

        cloud.script = endless
        found = both(limits={"answer_bytes": 1_000_000}).chat()
        assert (found.status_code, found.json()["error"]["code"]) == (502, "upstream_invalid")

    def test_one_that_announces_too_much_is_not_read_at_all(self, both: Start, cloud: FakeUpstream) -> None:
        def gigabyte(wire: Wire) -> None:
            head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000000000\r\n\r\n"
            wire.send(head)
            assert wire.wait_for_close()

        cloud.script = gigabyte
        found = both().chat()
        assert (found.status_code, found.json()["error"]["code"]) == (502, "upstream_invalid")

    def test_nothing_of_a_failed_answer_waits_for_the_collector(
        self, both: Start, cloud: FakeUpstream
    ) -> None:
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
        scripts = [script for script, _, _ in BEFORE_THE_FIRST_BYTE.values()]
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
        cloud.script = self.broken_after(sent, stall)
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
        gateway = both(routing={"stream_decision": "off"}, upstream={"idle_timeout_s": 0.2})
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
            assert closed.wait(10)
        gateway.settle()
        assert not gateway.gateway.upstreams.get("cloud").breaker.is_open  # type: ignore[union-attr]


class TestTheClientLeaves:
    def leave(self, gateway: Running, body: dict[str, object], after_bytes: int) -> None:
        import socket

        data = json.dumps({"model": "cloud", "messages": [], **body}).encode()
        with socket.create_connection(("127.0.0.1", gateway.port)) as client:
            head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(data)}\r\n\r\n"
            client.sendall(head.encode() + data)
            got = b""
            while len(got) < after_bytes:
                got += client.recv(65536)
            self.reached.wait(10)

    @pytest.mark.parametrize(("streams", "after_bytes"), [(False, 0), (True, 0), (True, 1)])
    def test_the_upstream_is_let_go(
        self, both: Start, cloud: FakeUpstream, streams: bool, after_bytes: int
    ) -> None:
        self.reached = threading.Event()
        closed = threading.Event()

        def script(wire: Wire) -> None:
            if after_bytes:
                wire.send(STREAM_HEAD + chunk(delta("x")))
            self.reached.set()
            if wire.wait_for_close():
                closed.set()

        cloud.script = script
        gateway = both()
        self.leave(gateway, {"stream": streams}, after_bytes)
        assert closed.wait(10)
        gateway.settle()
        assert gateway.gateway.chats == 0
        assert not gateway.gateway.streams


class TestTheClassifierFails:
    def break_it(self, gateway: Running, error: BaseException) -> None:
        def fail(texts: list[str]) -> list[object]:
            raise error

        gateway.gateway.engine.current.router.route_many = fail  # type: ignore[method-assign, assignment]

    def test_chats_go_to_the_default_target_and_say_so(self, both: Start, cloud: FakeUpstream) -> None:
        from pointsman.errors import NonFiniteOutputError

        class Panic(BaseException):
            pass

        gateway = both(routing={"default_target": "cloud"})
        for error in (NonFiniteOutputError("nan"), RuntimeError("onnx"), Panic("native")):
            self.break_it(gateway, error)
            found = gateway.chat(f"{LOCAL_TEXT} {type(error).__name__}")
            assert found.status_code == 200
            assert found.json()["pointsman"]["reason"] == "classifier_failed"
            assert found.json()["pointsman"]["upstream"] == "cloud"
        assert len(cloud.seen) == 3

    @pytest.mark.parametrize(
        "limits", [{"queue_timeout_ms": 0.001}, {"queue": 1, "queue_timeout_ms": 10_000}]
    )
    def test_a_classifier_without_time_costs_no_chat(
        self, both: Start, cloud: FakeUpstream, limits: dict[str, float]
    ) -> None:
        gateway = both(routing={"default_target": "cloud"}, limits=limits, inference={"max_batch": 1})
        go, router = threading.Event(), gateway.gateway.engine.current.router
        decide = router.route_many

        def slow(texts: list[str]) -> object:
            assert go.wait(20)
            return decide(texts)

        router.route_many = slow  # type: ignore[method-assign, assignment]
        found: list[dict[str, str]] = []

        def ask(index: int) -> None:
            found.append(gateway.chat(f"{LOCAL_TEXT} {index}").json()["pointsman"])

        threads = [threading.Thread(target=ask, args=(index,)) for index in range(4)]
        for thread in threads:
            thread.start()
        # One text is in the model and one may wait for it: the other two are answered meanwhile.
        deadline = time.monotonic() + 10
        while len(found) < 2 and time.monotonic() < deadline:
            time.sleep(0.005)
        go.set()
        for thread in threads:
            thread.join()
        busy = [facts for facts in found if facts["reason"] == "classifier_busy"]
        assert len(found) == 4 and busy
        assert {facts["upstream"] for facts in busy} == {"cloud"}

    def test_classification_says_what_is_wrong_and_lives_on(self, both: Start) -> None:
        from pointsman.errors import NonFiniteOutputError

        class Panic(BaseException):
            pass

        gateway = both()
        good = gateway.gateway.engine.current.router.route_many
        for error, status in (
            (NonFiniteOutputError("nan"), 503),
            (RuntimeError("x"), 503),
            (Panic("y"), 503),
        ):
            self.break_it(gateway, error)
            found = gateway.http.post("/predict", json={"query": f"plan {type(error).__name__}"})
            assert found.status_code == status
            gateway.gateway.engine.current.router.route_many = good  # type: ignore[method-assign]
            assert gateway.http.post("/predict", json={"query": f"a {error}"}).status_code == 200

    def test_it_is_not_ready_when_it_goes_on_failing(self, both: Start) -> None:
        from pointsman.errors import NonFiniteOutputError

        gateway = both()
        self.break_it(gateway, NonFiniteOutputError("nan"))
        for index in range(5):
            assert gateway.http.post("/predict", json={"query": f"plan {index}"}).status_code == 503
        found = gateway.http.get("/readyz")
        assert (found.status_code, found.json()["error"]["code"]) == (503, "model_unavailable")
        assert gateway.http.get("/livez").status_code == 200


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
