"""Bad input: one shape of errors, nothing echoed, and the next good request is answered."""

import contextlib
import json
import socket

import pytest
from tests.support.running import Running

from pointsman.serve.dispatch import Route
from pointsman.serve.routes import PUBLIC

CANARY = "canary-7f3a"


def raw(port: int, data: bytes) -> bytes:
    """What comes back for these bytes, until the other side closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as made:
        got = b""
        # A refusal may close the connection before everything is sent.
        with contextlib.suppress(OSError):
            made.sendall(data)
            made.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            while piece := made.recv(65536):
                got += piece
        return got


@pytest.fixture(autouse=True)
def still_alive(plain: Running) -> object:
    yield
    assert plain.http.post("/predict", json={"query": "plan"}).json()["target"] == "cloud"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"query": "%s' % CANARY.encode(), "invalid_json"),
        (b'{"query": "\\ud800 canary-7f3a"}', "invalid_json"),
        (b'{"query": "canary-7f3a", "x": NaN}', "invalid_json"),
        (b'{"query": "canary-7f3a", "x": 1e999}', "invalid_json"),
        (b'{"query": "canary-7f3a", "x": ' + b"9" * 5000 + b"}", "invalid_json"),
        (b'{"query": "canary-7f3a", "query": "b"}', "invalid_json"),
        (b'{"x": ' + b"[" * 33 + b"]" * 33 + b"}", "invalid_json"),
        (b"[" * 100_000, "invalid_json"),
        (b'{"query": "\xff\xfe"}', "invalid_json"),
        ('{"query": "canary-7f3a"}'.encode("utf-16"), "invalid_json"),
        (b'"', "invalid_json"),
        (b"3", "invalid_request"),
        (b"[]", "invalid_request"),
        (b'{"query": {"a": "canary-7f3a"}}', "invalid_request"),
        (b'{"query": ["a", 3]}', "invalid_request"),
        (b'{"text": "canary-7f3a"}', "invalid_request"),
        (b"", "invalid_request"),
        (b'{"query": ""}', "empty_input"),
        (b'{"query": " \\t\\n"}', "empty_input"),
        (b'{"query": "\\u200b\\u200b"}', "empty_input"),
        (b'{"query": "\\u0000\\u0001"}', "empty_input"),
        (b'{"inputs": {"a": 1}}', "invalid_request"),
        (b'{"input": null}', "invalid_request"),
    ],
)
def test_bad_bodies(plain: Running, body: bytes, code: str) -> None:
    found = plain.http.post("/predict", content=body, headers={"content-type": "application/json"})
    assert (found.status_code, found.json()["error"]["code"]) == (400, code)
    assert set(found.json()["error"]) == {"message", "type", "code", "request_id"}
    assert found.json()["error"]["request_id"] == found.headers["x-request-id"]
    assert found.headers["x-should-retry"] == "false"
    assert CANARY not in found.text
    assert len(found.content) < 2048


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "text/plain"}, 415),
        ({"content-encoding": "gzip"}, 415),
        ({"content-type": "application/vnd.api+json"}, 200),
    ],
)
def test_kinds_of_bodies(plain: Running, headers: dict[str, str], status: int) -> None:
    assert plain.http.post("/predict", content=b'{"query":"plan"}', headers=headers).status_code == status


class TestSizes:
    def test_a_body(self, plain: Running) -> None:
        limit = plain.gateway.settings.limits.text_body_bytes
        headers = {"content-type": "application/json"}
        found = plain.http.post("/predict", headers=headers, content=b'"' + b"a" * limit + b'"')
        assert (found.status_code, found.json()["error"]["code"]) == (413, "body_too_large")

    def test_a_body_that_does_not_say_its_length(self, plain: Running) -> None:
        limit = plain.gateway.settings.limits.text_body_bytes
        pieces = (b"a" * 65536 for _ in range(limit // 65536 + 2))
        headers = {"content-type": "application/json"}
        assert plain.http.post("/predict", headers=headers, content=pieces).status_code == 413

    def test_a_batch(self, plain: Running) -> None:
        found = plain.http.post("/predict", json={"query": ["plan"] * 33})
        assert (found.status_code, found.json()["error"]["code"]) == (413, "batch_too_large")
        found = plain.http.post("/predict", json={"query": "a " * 70_000})
        assert found.json()["error"]["code"] == "batch_too_large"

    def test_headers(self, plain: Running) -> None:
        many = {f"x-{index}": "1" for index in range(101)}
        for headers in (many, {"x-long": "a" * 33_000}):
            found = plain.http.get("/livez", headers=headers)
            assert (found.status_code, found.json()["error"]["code"]) == (431, "headers_too_large")

    def test_an_endless_head_is_cut(self, plain: Running) -> None:
        got = raw(plain.port, b"GET /livez HTTP/1.1\r\nhost: x\r\n" + b"x-a: 1\r\n" * 40_000)
        assert got == b"" or got.startswith(b"HTTP/1.1 431")


@pytest.mark.parametrize(
    "head",
    [
        b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nhost: x\r\ntransfer-encoding : chunked\r\n\r\n",
        b"GET /pre\0dict HTTP/1.1\r\nhost: x\r\n\r\n",
        b"HELLO\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_what_is_no_http_is_refused_and_closed(plain: Running, head: bytes) -> None:
    got = raw(plain.port, head)
    assert got.count(b"\r\nx-request-id: ") == 1
    assert got.startswith(b"HTTP/1.1 400")
    assert json.loads(got.partition(b"\r\n\r\n")[2])["error"]["code"] == "invalid_request"


@pytest.mark.parametrize("route", PUBLIC, ids=lambda route: f"{route.method} {route.path}")
def test_slashes_at_the_end_and_doubled_ones_lead_to_the_same_route(plain: Running, route: Route) -> None:
    path = route.path.replace("{", "").replace("}", "")
    expected = plain.http.request(route.method, path, content=b"")
    for written in (f"{path}/", f"{path}//", path.replace("/", "//")):
        # As bytes: the client would read the beginning as another host.
        found = raw(
            plain.port,
            f"{route.method} {written} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode(),
        )
        assert found.startswith(f"HTTP/1.1 {expected.status_code} ".encode()), written


def test_unknown_routes_and_methods_say_so_without_the_path(plain: Running) -> None:
    found = plain.http.get(f"/{CANARY}")
    assert (found.status_code, found.json()["error"]["code"]) == (404, "not_found")
    assert CANARY not in found.text
    found = plain.http.delete("/predict")
    assert (found.status_code, found.headers["allow"]) == (405, "GET, POST")


@pytest.mark.parametrize("request_id", ["a" * 65, "a b", "a\x1b[31m", "\u00e9".encode()])
def test_a_strange_request_id_is_replaced(plain: Running, request_id: str | bytes) -> None:
    found = plain.http.get("/livez", headers={"x-request-id": request_id})
    assert len(found.headers["x-request-id"]) == 16


def test_metric_labels_come_from_closed_sets(plain: Running) -> None:
    plain.http.get("/warm-up")

    def series() -> int:
        return sum(len(metric.samples) for metric in plain.gateway.metrics.registry.collect())

    before = series()
    for index in range(50):
        plain.http.get(f"/nothing-{index}")
        plain.http.get(f"/v2/models/m-{index}")
    # The one pattern that all models share is new at most once.
    assert series() - before < 60
    again = series()
    for index in range(50, 100):
        plain.http.get(f"/nothing-{index}")
        plain.http.get(f"/v2/models/m-{index}")
    assert series() == again
