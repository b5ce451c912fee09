"""What an upstream says of one request is the asker's own; what says that it is down counts against it."""

import base64
import contextlib
import gzip
import html
import json
import re
import socket
import threading
import unicodedata
import zlib
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.fake_upstream import DONE, FakeUpstream, Wire, answer, chunk, delta, free_port, stream
from tests.support.running import Running, settings_for

from pointsman.serve.chat.refusal import loggable
from pointsman.serve.upstream.breaker import Breaker

Start = Callable[..., Running]
KEYS = [f"{letter}-3f9a1c77b2d84e5f9a0b1c2d3e4f5a6b" for letter in "abc"]
SHAPES = {
    "openai": b'{"error": {"message": "no such thing", "type": "x", "code": "y"}}',
    "anthropic": b'{"type": "error", "error": {"type": "overloaded_error", "message": "no such thing"}}',
    "ollama": b'{"error": "no such thing"}',
    "vllm": b'{"object": "error", "message": "no such thing", "type": "BadRequestError"}',
    "fastapi": b'{"detail": "no such thing"}',
}


def ask(gateway: Running, key: str, **rest: object) -> object:
    return gateway.chat(headers={"authorization": f"Bearer {key}"}, model="cloud", **rest)


@pytest.mark.parametrize("status", [400, 404, 409, 413, 422, 429, 500, 502, 503, 529])
def test_an_error_in_json_is_passed_on_and_counts_for_nobody_else(
    both: Start, cloud: FakeUpstream, status: int
) -> None:
    gateway = both(auth={"keys": KEYS}, upstream={"breaker_failures": 2, "breaker_open_s": 3600.0})
    for shape, body in SHAPES.items():
        cloud.script = answer(status, body, headers="retry-after: 7\r\n")
        gateway.gateway.upstreams.get("cloud").breaker = Breaker(2, 3600.0)  # type: ignore[union-attr]
        found = ask(gateway, KEYS[0])
        assert found.status_code == status, shape
        error = found.json()["error"]
        assert error["message"] == "no such thing" and error["type"], shape
        assert found.headers["retry-after"] == "7"
        retries = status >= 500 or status in (409, 429)
        assert found.headers["x-should-retry"] == str(retries).lower()
        assert found.json()["pointsman"]["upstream"] == "cloud"
    for _ in range(5):
        ask(gateway, KEYS[0])
    cloud.script = answer()
    assert ask(gateway, KEYS[1]).status_code == 200


def test_an_error_that_says_200_is_no_answer(both: Start, local: FakeUpstream, cloud: FakeUpstream) -> None:
    cloud.script = answer(200, b'{"error": "Unexpected endpoint or method"}')
    gateway = both(routing={"fallback": ["cloud-to-local"], "show_upstream_errors": True})
    found = gateway.chat(model="cloud")
    assert (found.status_code, found.headers["x-pointsman-fallback"]) == (200, "invalid")
    found = gateway.chat(headers={"x-pointsman-policy": "cloud-only"})
    assert (found.status_code, found.json()["error"]["code"]) == (502, "upstream_invalid")
    assert "Unexpected endpoint or method" in found.json()["error"]["message"]
    cloud.script = answer(200, b'{"id": "resp_1", "error": {"message": "x"}, "output": []}')
    assert gateway.chat(model="cloud").json()["id"] == "resp_1"


def test_one_clients_429_is_kept_for_it_and_says_so(both: Start, cloud: FakeUpstream) -> None:
    gateway = both(auth={"keys": KEYS})
    cloud.script = answer(429, SHAPES["openai"], headers="retry-after: 100\r\n")
    for _ in range(3):
        found = ask(gateway, KEYS[0])
        assert found.status_code == 429
        assert 90 <= int(found.headers["retry-after"]) <= 100
        assert found.headers["x-should-retry"] == "true"
    assert len(cloud.seen) == 1
    cloud.script = answer()
    assert ask(gateway, KEYS[1]).status_code == 200


@pytest.mark.parametrize("body", [b"<html>Bad Gateway</html>", b"", b"[]", b'"no"'])
def test_an_error_page_says_that_the_upstream_is_down(both: Start, cloud: FakeUpstream, body: bytes) -> None:
    gateway = both(auth={"keys": KEYS}, upstream={"breaker_failures": 3, "breaker_open_s": 3600.0})
    cloud.script = answer(502, body)
    for _ in range(5):
        found = ask(gateway, KEYS[0])
        assert (found.status_code, found.json()["error"]["code"][:9]) == (502, "upstream_")
    # One client alone has closed the way for itself only.
    assert len(cloud.seen) == 3
    found = ask(gateway, KEYS[1])
    assert len(cloud.seen) == 4
    # With a second one in the row it is the upstream.
    ask(gateway, KEYS[2])
    assert len(cloud.seen) == 4


def test_a_refused_connection_is_nobodys_own(artifact: object, start: Start) -> None:
    dead = {"url": f"http://127.0.0.1:{free_port()}/v1", "breaker_failures": 3, "breaker_open_s": 3600.0}
    tables = {"upstreams": {"cloud": {**dead, "retries": 0}}, "auth": {"keys": KEYS}}
    gateway = start(settings_for(artifact, **tables))  # type: ignore[arg-type]
    for _ in range(3):
        found = ask(gateway, KEYS[0])
        assert "refused" in found.json()["error"]["message"]
    assert gateway.gateway.upstreams.get("cloud").breaker.is_open  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("url", "said"),
    [("http://no-such-name.invalid/v1", "DNS"), ("https://127.0.0.1:{port}/v1", "TLS")],
)
def test_the_answer_says_why_there_is_no_connection(
    artifact: object, start: Start, url: str, said: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as plain:
        url = url.replace("{port}", str(plain.getsockname()[1]))
        gateway = start(settings_for(artifact, upstreams={"cloud": {"url": url, "retries": 0}}))  # type: ignore[arg-type]

        def speak_plainly() -> None:
            # A name that is not found connects to nothing: the socket is closed while this waits.
            with contextlib.suppress(OSError), plain.accept()[0] as made:
                made.recv(1)
                made.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                made.recv(65536)

        thread = threading.Thread(target=speak_plainly, daemon=True)
        thread.start()
        found = gateway.chat(model="cloud")
    assert found.json()["error"]["code"] == "upstream_unreachable"
    assert said in found.json()["error"]["message"]
    assert "127.0.0.1" not in found.text and "invalid/" not in found.text


def test_the_log_says_why_though_another_upstream_answers(
    artifact: object, start: Start, local: FakeUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    cloud = {"url": f"http://127.0.0.1:{free_port()}/v1", "retries": 0}
    tables = {"upstreams": {"local": {"url": local.url}, "cloud": cloud}, "server": {"log_level": "info"}}
    gateway = start(settings_for(artifact, routing={"fallback": ["cloud-to-local"]}, **tables))  # type: ignore[arg-type]
    with caplog.at_level("INFO", "pointsman.serve"):
        assert gateway.chat(model="cloud").headers["x-pointsman-upstream"] == "local"
        gateway.settle()
    (facts,) = [r.facts for r in caplog.records if "upstream_failure" in getattr(r, "facts", {})]  # type: ignore[attr-defined]
    assert (facts["fallback"], facts["upstream_failure"]) == ("unreachable", "Connection refused")


class TestWhatAnswersAreReadAs:
    @pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
    @pytest.mark.parametrize("streams", [False, True])
    def test_packed_although_nobody_asked(
        self, both: Start, cloud: FakeUpstream, encoding: str, pack: Callable[[bytes], bytes], streams: bool
    ) -> None:
        body = delta("hi") + DONE if streams else json.dumps({"choices": [], "text": "é" * 5000}).encode()
        kind = "text/event-stream" if streams else "application/json"

        def script(wire: Wire) -> None:
            packed = pack(body)
            head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-encoding: {encoding}\r\n"
            wire.send(f"{head}transfer-encoding: chunked\r\n\r\n".encode())
            for index in range(0, len(packed), 7):
                wire.send(chunk(packed[index : index + 7]))
            wire.send(b"0\r\n\r\n")

        cloud.script = script
        gateway = both(routing={"stream_decision": "off"})
        for _ in range(2):
            found = gateway.chat(model="cloud", stream=streams)
            assert "content-encoding" not in found.headers
            assert found.content == body if streams else found.json()["text"] == "é" * 5000

    @pytest.mark.parametrize("kind", ["text/plain", "text/plain; charset=utf-8", "application/json"])
    def test_json_as_plain_text(self, both: Start, cloud: FakeUpstream, kind: str) -> None:
        body = b'\xef\xbb\xbf{"choices": []}'

        def script(wire: Wire) -> None:
            head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
            wire.send(head.encode() + body)

        cloud.script = script
        found = both().chat(model="cloud")
        assert (found.status_code, found.headers["content-type"]) == (200, "application/json")
        assert found.json()["pointsman"]["upstream"] == "cloud"

    @pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "latin-1"])
    def test_another_encoding_is_no_answer(self, both: Start, cloud: FakeUpstream, encoding: str) -> None:
        cloud.script = answer(body='{"choices": ["é"]}'.encode(encoding))
        found = both().chat(model="cloud")
        assert (found.status_code, found.json()["error"]["code"]) == (502, "upstream_invalid")

    def test_a_comment_is_no_first_byte(self, both: Start, local: FakeUpstream, cloud: FakeUpstream) -> None:
        def only_comments(wire: Wire) -> None:
            wire.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n: PROCESSING\n\n")
            wire.wait_for_close()

        cloud.script = only_comments
        local.script = stream([delta("hi"), DONE])
        gateway = both(routing={"fallback": ["cloud-to-local"]})
        gateway.wait_for_first_byte("cloud", 0.2)
        found = gateway.chat(stream=True)
        assert found.headers["x-pointsman-fallback"] == "timeout"
        assert b"[DONE]" in found.content


@pytest.mark.parametrize("dies", ["reset", "finish"])
def test_a_kept_connection_that_is_dead_is_tried_again_once(
    both: Start, cloud: FakeUpstream, dies: str
) -> None:
    """Each connection answers once, says that it stays, and is dead when it is used again."""
    good, known = answer(), set[int]()

    def script(wire: Wire) -> None:
        if id(wire._connection) in known:
            getattr(wire, dies)()
            return
        known.add(id(wire._connection))
        good(wire)

    cloud.script = script
    gateway = both(upstream={"breaker_failures": 1})
    for _ in range(6):
        assert gateway.chat(model="cloud").status_code == 200
    assert not gateway.gateway.upstreams.get("cloud").breaker.is_open  # type: ignore[union-attr]
    # A fresh one that dies is not tried again.
    cloud.script = Wire.reset
    seen = len(cloud.seen)
    assert gateway.chat(model="cloud").status_code == 502
    assert len(cloud.seen) - seen <= 2


WORDS = st.sampled_from(
    ["quarterly", "Zürich", "payroll", "工资表", "Anna", "4715", "wörk-life", "don't", "заработок"]
)
PROMPTS = st.lists(WORDS, min_size=1, max_size=5).map(" ".join)
KEY = "hunter7of9ours"
ECHOES: list[Callable[[str], str]] = [
    str,
    repr,
    ascii,
    str.upper,
    json.dumps,
    lambda text: text.replace(" ", "-"),
    lambda text: text.replace(" ", "_"),
    lambda text: text.replace(" ", ""),
    lambda text: text[: 2 * len(text) // 3],
    lambda text: text[1:],
    lambda text: f"<b>{html.escape(text)}</b>",
    lambda text: html.escape(text).encode("ascii", "xmlcharrefreplace").decode(),
    lambda text: quote(text),
    lambda text: quote_plus(text),
    lambda text: base64.b64encode(text.encode() * 3).decode(),
    lambda text: f"prompt={text},key={KEY}.",
    lambda text: f"{KEY}{text}{KEY[:9]}",
    lambda text: unicodedata.normalize("NFKD", text),
]


def bare(text: str) -> str:
    """Without case and marks."""
    return "".join(c for c in unicodedata.normalize("NFKD", text).casefold() if not unicodedata.combining(c))


@given(
    PROMPTS, st.sampled_from(ECHOES), st.sampled_from(["", "cannot read: ", "x" * 155 + " ", "x" * 315 + " "])
)
@settings(max_examples=300)
def test_no_echo_of_a_prompt_or_key_is_told(prompt: str, echo: Callable[[str], str], ahead: str) -> None:
    payload = {"model": "auto", "messages": [{"role": "user", "content": prompt}], "metadata": {"k": "v"}}
    told = loggable(payload, f"{ahead}{echo(prompt)} in the request", [KEY])
    assert len(told) <= 160
    for word in (*re.findall(r"\w+", bare(prompt)), KEY):
        # Up to four letters of a Latin word may stay, as in any other word.
        least = 5 if word.isascii() else 2
        parts = {word[i : i + least] for i in range(max(1, len(word) - least + 1))}
        assert not any(re.search(rf"\b{part}\b" if len(part) < 4 else part, bare(told)) for part in parts), (
            told
        )


@pytest.mark.parametrize(
    "said",
    [
        "This model's maximum context length is 8192 tokens",
        "invalid image format; the model takes png",
        "CUDA out of memory",
        "model 'llama3.2' not found, try pulling it first",
    ],
)
def test_what_an_upstream_says_of_itself_can_be_read(said: str) -> None:
    assert loggable({"messages": [{"role": "user", "content": "Thanks for your help"}]}, said, [KEY]) == said


@pytest.mark.parametrize("is_shown", [False, True])
def test_the_answer_says_why_where_the_operator_wants_it(
    both: Start, cloud: FakeUpstream, is_shown: bool
) -> None:
    cloud.script = answer(503, b"<html>Backend fetch failed for payroll at bearer-key-17</html>")
    gateway = both(routing={"show_upstream_errors": is_shown}, upstream={"api_key": "bearer-key-17"})
    message = gateway.chat("payroll", model="cloud").json()["error"]["message"]
    assert message.startswith("the upstream answered with an error of its own (status 503")
    assert ("Backend fetch failed" in message) == is_shown
    assert not any(word in message for word in ("payroll", "key-17"))


def test_no_word_and_no_key_of_a_request_is_logged(
    both: Start, cloud: FakeUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    said = "invalid content 'canary-7f3a payroll of Ann' for key sk-abcdef0123456789abcdef0123 in the model"
    cloud.script = answer(400, json.dumps({"error": {"message": said}}).encode())
    gateway = both(server={"log_level": "info"})
    with caplog.at_level("INFO", "pointsman.serve"):
        gateway.chat("canary-7f3a payroll of Ann", model="cloud")
        gateway.settle()
    (facts,) = [r.facts for r in caplog.records if "upstream_error" in getattr(r, "facts", {})]  # type: ignore[attr-defined]
    assert facts["upstream_status"] == 400
    assert facts["upstream_error"].startswith("invalid content")
    assert not any(word in str(facts) for word in ("canary", "payroll", "Ann", "abcdef"))


@pytest.mark.parametrize("status", [400, 401, 403, 500])
@pytest.mark.parametrize(
    "shape", ['{"error": {"message": "no %s"}}', '{"detail": "no %s"}', '{"error": "no %s"}']
)
def test_no_key_that_an_upstream_repeats_reaches_a_client(
    both: Start, cloud: FakeUpstream, shape: str, status: int
) -> None:
    key = "uk/" + "83fa07c5" * 4
    gateway = both(upstream={"api_key": key, "headers": {"x-tenant": "tenant-of-a-secret-name"}})
    for said in (key, f"Bearer {key}", key.replace("/", "\\/"), "tenant-of-a-secret-name"):
        cloud.script = answer(status, (shape % said).encode())
        answered = gateway.chat("plan", model="cloud")
        assert answered.status_code == status and "no " in answered.json()["error"]["message"]
        assert "83fa07c5" not in answered.text and "of-a-secret" not in answered.text


def test_no_key_that_an_event_or_an_answer_with_status_200_repeats_reaches_a_client(
    both: Start, cloud: FakeUpstream
) -> None:
    key = "uk/" + "83fa07c5" * 4
    gateway = both(upstream={"api_key": key})
    error = b'{"error": {"message": "no %s"}}' % key.encode()
    for pieces in ([b"data: %s\n\n" % error], [delta("one"), b"data: %s\n\n" % error, DONE]):
        cloud.script = stream(pieces)
        said = gateway.chat("plan", model="cloud", stream=True).text
        assert "no ***" in said and "83fa07c5" not in said
    cloud.script = answer(body=b'{"choices": [], ' + error[1:])
    said = gateway.chat("plan", model="cloud").text
    assert "no ***" in said and "83fa07c5" not in said
