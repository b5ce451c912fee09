"""A stream whose upstream is silent: comments come, and the answer, its fallback or its error after them."""

import json
import threading
from collections.abc import Callable, Iterator

import httpx
import pytest
from tests.support import anthropic_messages
from tests.support.fake_upstream import DONE, STREAM_HEAD, FakeUpstream, Wire, answer, chunk, delta, stream
from tests.support.running import Running

Start = Callable[..., Running]
SOON = {"stream_keepalive_s": 0.05}
COMMENT = b": keep-alive\n\n"
PING = b': keep-alive\nevent: ping\ndata: {"type": "ping"}\n\n'


@pytest.fixture
def heard() -> Iterator[threading.Event]:
    """Set when the client has a comment; a script waits for it, so that no test waits for a time."""
    made = threading.Event()
    yield made
    made.set()


def after(heard: threading.Event, then: Callable[[Wire], None]) -> Callable[[Wire], None]:
    def script(wire: Wire) -> None:
        assert heard.wait(60)
        then(wire)

    return script


def read(
    gateway: Running, heard: threading.Event, path: str = "/v1/chat/completions", **rest: object
) -> tuple[httpx.Response, bytes]:
    """Everything of a stream; says when a comment has come."""
    body = {"model": "cloud", "messages": [{"role": "user", "content": "plan"}], "stream": True, **rest}
    data = b""
    with gateway.http.stream("POST", path, json=body, timeout=60) as found:
        for piece in found.iter_raw():
            data += piece
            if data.endswith((COMMENT, PING)):
                heard.set()
    return found, data


def last_event(data: bytes) -> dict[str, object]:
    lines = [line for line in data.splitlines() if line.startswith(b"data: {")]
    return dict(json.loads(lines[-1][6:]))


def test_comments_come_before_the_first_piece(
    both: Start, cloud: FakeUpstream, heard: threading.Event
) -> None:
    cloud.script = after(heard, stream([delta("hi"), DONE]))
    found, data = read(both(routing=SOON), heard)
    assert found.headers["content-type"] == "text/event-stream"
    assert (found.headers["x-pointsman-target"], "x-pointsman-upstream" in found.headers) == ("cloud", False)
    assert data.startswith(COMMENT)
    said = data.replace(COMMENT, b"")
    assert said.endswith(DONE)
    assert json.loads(said.splitlines()[0][6:])["pointsman"]["upstream"] == "cloud"


def test_comments_come_between_pieces_and_never_inside_an_event(
    both: Start, cloud: FakeUpstream, heard: threading.Event
) -> None:
    half = delta("two")

    def script(wire: Wire) -> None:
        wire.send(STREAM_HEAD + chunk(delta("one") + half[:9]))
        assert heard.wait(60)
        wire.send(chunk(half[9:]) + chunk(DONE) + b"0\r\n\r\n")

    cloud.script = script
    _, data = read(both(routing={**SOON, "stream_decision": "off"}), heard)
    assert COMMENT in data
    assert data.replace(COMMENT, b"") == delta("one") + half + DONE


@pytest.mark.parametrize("fails", [answer(503, b"<html>"), answer(500, b'{"error": "no"}'), Wire.reset])
def test_another_upstream_may_still_answer(
    both: Start, local: FakeUpstream, cloud: FakeUpstream, heard: threading.Event, fails: Callable[..., None]
) -> None:
    cloud.script = after(heard, fails)
    local.script = stream([delta("here"), DONE])
    _, data = read(both(routing={**SOON, "fallback": ["cloud-to-local"]}), heard)
    first = json.loads(data.replace(COMMENT, b"").splitlines()[0][6:])
    assert first["choices"][0]["delta"]["content"] == "here"
    assert first["pointsman"]["upstream"] == "local" and first["pointsman"]["fallback"]


@pytest.mark.parametrize(
    ("fails", "message"),
    [
        (answer(400, b'{"error": {"message": "too long", "code": "c"}}'), "too long"),
        (answer(429, b'{"detail": "too much"}'), "too much"),
        (answer(503, b"<html>"), "the upstream answered with an error of its own (status 503)"),
        (Wire.reset, "the upstream closed the connection"),
        (answer(), "the upstream answered a stream's request as a whole"),
    ],
)
@pytest.mark.parametrize("api", ["openai", "anthropic"])
def test_a_failure_after_a_comment_is_the_last_event(
    both: Start,
    cloud: FakeUpstream,
    heard: threading.Event,
    fails: Callable[..., None],
    message: str,
    api: str,
) -> None:
    cloud.script = after(heard, fails)
    gateway = both(routing=SOON, upstream={"api": api})
    path = "/v1/messages" if api == "anthropic" else "/v1/chat/completions"
    found, data = read(gateway, heard, path, max_tokens=5)
    assert found.status_code == 200
    event = last_event(data)
    assert event["error"]["message"] == message  # type: ignore[index]
    assert event["pointsman"]["target"] == "cloud"  # type: ignore[index]
    assert (b"event: error\n" in data) == (api == "anthropic") == (event.get("type") == "error")
    assert b"[DONE]" not in data


def test_claudes_stream_is_kept_alive_too(both: Start, cloud: FakeUpstream, heard: threading.Event) -> None:
    anthropic = pytest.importorskip("anthropic")
    cloud.script = after(heard, stream(anthropic_messages.events("fine", "then")))
    gateway = both(routing=SOON, upstream={"api": "anthropic"})
    _, data = read(gateway, heard, "/v1/messages", max_tokens=5)
    assert data.startswith(PING)
    assert data.replace(PING, b"") == b"".join(anthropic_messages.events("fine", "then"))
    cloud.script = lambda wire: (
        threading.Event().wait(0.2),
        stream(anthropic_messages.events("fine"))(wire),
    )[1]
    with anthropic.Anthropic(base_url=f"http://127.0.0.1:{gateway.port}", api_key="unused") as client:
        said = [{"role": "user", "content": "plan"}]
        with client.messages.stream(model="cloud", max_tokens=5, messages=said) as streamed:
            assert "".join(streamed.text_stream) == "fine"


def test_a_gateway_that_leaves_says_so_before_any_answer(both: Start, cloud: FakeUpstream) -> None:
    cloud.script = lambda wire: wire.wait_for_close() and None
    gateway = both(routing=SOON, server={"grace_s": 0.0})
    body = {"model": "cloud", "messages": [{"role": "user", "content": "plan"}], "stream": True}
    data = b""
    with gateway.http.stream("POST", "/v1/chat/completions", json=body, timeout=60) as found:
        for piece in found.iter_raw():
            if not data:
                gateway.loop.call_soon_threadsafe(gateway.service.stop)
            data += piece
    assert last_event(data)["error"]["code"] == "draining"  # type: ignore[index]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_openais_client_skips_comments(both: Start, cloud: FakeUpstream, heard: threading.Event) -> None:
    openai = pytest.importorskip("openai")
    gateway = both(routing=SOON)
    # This client shows no comment, so the script waits for several times what one takes.
    cloud.script = lambda wire: (heard.wait(0.3), stream([delta("hi"), DONE])(wire))[1]
    with openai.OpenAI(base_url=f"http://127.0.0.1:{gateway.port}/v1", api_key="unused") as client:
        messages = [{"role": "user", "content": "plan"}]
        chunks = client.chat.completions.create(model="cloud", messages=messages, stream=True)
        assert "".join(part.choices[0].delta.content or "" for part in chunks) == "hi"


@pytest.mark.parametrize("routing", [{}, {"stream_keepalive_s": 0}])
def test_what_fails_soon_or_asks_for_no_stream_has_its_own_status(
    both: Start, cloud: FakeUpstream, routing: dict[str, float]
) -> None:
    cloud.script = answer(400, b'{"error": {"message": "too long"}}')
    gateway = both(routing=routing)
    assert gateway.chat(model="cloud", stream=True).status_code == 400
    gateway = both(routing=SOON)
    cloud.script = lambda wire: (threading.Event().wait(0.2), answer()(wire))[1]
    found = gateway.chat(model="cloud")
    assert (found.status_code, found.headers["content-type"]) == (200, "application/json")
    assert found.json()["pointsman"]["upstream"] == "cloud"
