"""Spans, by the SDK's own exporter in memory, and once over the wire."""

import http.server
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.fake_upstream import FakeUpstream, answer, delta, stream
from tests.support.running import Running, settings_for
from tests.support.tiny_artifact import CLOUD_TEXT

from pointsman.errors import MissingExtraError
from pointsman.serve.observability import tracing

pytest.importorskip("opentelemetry.sdk")
pytest.importorskip("opentelemetry.exporter.otlp.proto.http")

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEADERS = {"traceparent": f"00-{TRACE}-{PARENT}-01", "authorization": "Bearer client-key-4f7a"}


class Seen:
    """The spans that are over, oldest first."""

    def __init__(self, exporter: Any) -> None:
        self._exporter = exporter

    def __iter__(self) -> Iterator[Any]:
        return iter(self._exporter.get_finished_spans())

    def one(self, name: str) -> Any:
        found = [span for span in self if span.name == name]
        assert len(found) == 1, [span.name for span in self]
        return found[0]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    monkeypatch.setattr(tracing, "_exporting", lambda: SimpleSpanProcessor(exporter))
    return Seen(exporter)


def test_a_chat_is_a_server_a_decision_and_a_client_in_the_callers_trace(
    both: Callable[..., Running], cloud: FakeUpstream, seen: Seen
) -> None:
    gateway = both(server={"traces": True})
    assert gateway.chat(CLOUD_TEXT, headers=HEADERS).status_code == 200
    gateway.settle()
    server, call = seen.one("POST /v1/chat/completions"), seen.one("chat big")
    decide, queue, model = (seen.one(f"pointsman.{name}") for name in ("decide", "queue", "model"))
    assert format(server.context.trace_id, "032x") == TRACE
    assert format(server.parent.span_id, "016x") == PARENT
    assert decide.parent.span_id == call.parent.span_id == server.context.span_id
    assert queue.parent.span_id == model.parent.span_id == decide.context.span_id
    assert decide.start_time <= queue.start_time + 10**6 and queue.end_time == model.start_time
    assert server.attributes["http.response.status_code"] == 200
    assert decide.attributes["pointsman.target"] == "cloud"
    assert decide.attributes["pointsman.reason"] == "model"
    assert call.attributes["gen_ai.operation.name"] == "chat"
    assert call.attributes["gen_ai.request.model"] == "big"
    assert call.attributes["gen_ai.usage.output_tokens"] > 0
    sent = cloud.seen[0].headers["traceparent"]
    assert sent == f"00-{TRACE}-{call.context.span_id:016x}-01"
    everything = "".join(span.to_json() for span in seen)
    for secret in (CLOUD_TEXT, "client-key-4f7a", str(cloud.port)):
        assert secret not in everything


def test_a_broken_stream_and_a_refusal_are_errors_by_code(
    both: Callable[..., Running], cloud: FakeUpstream, seen: Seen
) -> None:
    cloud.script = stream([delta("x")])
    gateway = both(server={"traces": True})
    gateway.chat(CLOUD_TEXT, stream=True)
    cloud.script = answer(500)
    gateway.chat(CLOUD_TEXT)
    gateway.http.post("/predict", content=b"{", headers={"content-type": "application/json"})
    gateway.http.get("/livez")
    gateway.settle()
    calls = [span for span in seen if span.name == "chat big"]
    assert calls[1].attributes["error.type"] == "status"
    assert calls[1].status.is_ok is False
    refused = [span for span in seen if span.kind.name == "SERVER"]
    assert [span.attributes.get("error.type") for span in refused[1:]] == ["upstream_invalid", "invalid_json"]
    assert [span.attributes["http.response.status_code"] for span in refused] == [200, 502, 400]
    assert not any(span.events for span in seen)


def test_spans_go_out_by_otlp(artifact: Path, start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bodies: list[tuple[str, bytes]] = []

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    collector = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_port}")
    from tests.support.running import running

    with running(settings_for(artifact, server={"traces": True})) as gateway:
        gateway.http.post("/predict", json={"query": CLOUD_TEXT})
    collector.shutdown()
    collector.server_close()
    assert {path for path, _ in bodies} == {"/v1/traces"}
    sent = b"".join(body for _, body in bodies)
    assert b"pointsman.decide" in sent and b"POST /predict" in sent
    assert CLOUD_TEXT.encode() not in sent


def test_asked_for_and_not_installed_is_the_line_that_installs_it(
    artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace.export", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'pointsman\[otel\]'"):
        tracing.make_tracing(True)


def test_off_is_nothing(both: Callable[..., Running], cloud: FakeUpstream) -> None:
    gateway = both()
    gateway.chat(CLOUD_TEXT, headers=HEADERS)
    assert type(gateway.gateway.tracing) is tracing.Tracing
    assert cloud.seen[0].headers["traceparent"] == HEADERS["traceparent"]
