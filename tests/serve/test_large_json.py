"""Large JSON is taken and refused as small JSON is, only in pieces; and nobody waits for it meanwhile."""

import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.fake_upstream import FakeUpstream
from tests.support.running import Running, post_head
from tests.support.worst_bodies import WORST

from pointsman.serve.edge import large_json, strict_json
from pointsman.serve.failures import GatewayError

Start = Callable[..., Running]

texts = st.text(st.sampled_from('aé😀\u0301\\"/\n\x01\ud83d\ude00,:[{'), max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
TOKENS = [
    b"[",
    b"]",
    b"{",
    b"}",
    b",",
    b":",
    b'"',
    b"\\",
    b"\\u",
    b"\\ud83d",
    b"\\ude00",
    b"d83d",
    b"a",
    b"abcdefgh",
]
TOKENS += [
    b"1",
    b"-Infinity",
    b"NaN",
    b" ",
    b"\n",
    b"\xf0\x9f\x98\x80",
    b"\xff",
    b"\x00",
    b"\\\\",
    b'\\"',
    b"true",
]


def outcome(parse: Callable[[bytes], Any], body: bytes) -> tuple[Any, str]:
    try:
        return repr(parse(body)), ""
    except GatewayError as error:
        return None, error.code


@pytest.fixture(autouse=True, scope="module")
def small_blocks() -> object:
    """Blocks of a few bytes, so that every border falls everywhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(large_json, "_BLOCK", 13)
        yield


@given(value=values, ascii_only=st.booleans(), indent=st.sampled_from([None, 1]))
def test_what_is_json_is_read_and_written_the_same(value: Any, ascii_only: bool, indent: int | None) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass")
    assert outcome(large_json.parse, body) == outcome(strict_json.parse, body)
    read = outcome(strict_json.parse, body)
    if not read[1]:
        value = strict_json.parse(body)
        assert strict_json.parse(large_json.dump(value)) == value


@given(tokens=st.lists(st.sampled_from(TOKENS), max_size=30))
def test_what_is_no_json_is_refused_the_same(tokens: list[bytes]) -> None:
    for body in (b"".join(tokens), b'["' + b"".join(tokens) + b'"]'):
        assert outcome(large_json.parse, body) == outcome(strict_json.parse, body)


@pytest.mark.parametrize("n", range(12))
def test_an_escape_is_never_cut(n: int) -> None:
    for unit in ("\\n", "\\\\", "\\ud83d\\ude00", "\\u00e9", '\\"', "é", "😀", "a\\n"):
        body = ('["' + "x" * n + unit * 40 + '"]').encode()
        assert large_json.parse(body) == json.loads(body)


def test_nobody_waits_while_the_worst_bodies_arrive(
    both: Start, cloud: FakeUpstream, monkeypatch: Any
) -> None:
    monkeypatch.setattr(large_json, "_BLOCK", 2**18)
    rules = [
        {"name": "tagged", "send": "local", "tag": "x"},
        {"name": "word", "send": "local-only", "keywords": ["payroll"], "pattern": "(a+)+$"},
    ]
    gateway = both(routing={"rules": rules})
    waits: list[float] = []
    is_over = threading.Event()

    def probe() -> None:
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as made:
            while not is_over.is_set():
                begun = time.monotonic()
                made.sendall(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
                made.recv(65536)
                waits.append(time.monotonic() - begun)
                time.sleep(0.005)

    prober = threading.Thread(target=probe)
    prober.start()
    statuses = {}
    for name, make in WORST.items():
        body = make(2**21)
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as made:
            made.sendall(post_head("/v1/chat/completions", len(body)) + body)
            statuses[name] = int(made.recv(65536).split()[1])
    is_over.set()
    prober.join()
    refused = {name for name, status in statuses.items() if status != 200}
    assert {"empty lists", "small objects", "numbers", "keys", "depth"} <= refused, statuses
    assert not {"plain", "escapes", "marks"} & refused, statuses
    assert set(statuses.values()) <= {200, 400, 413}
    # The figures are the scoreboard's; here a stop of the process is told from a busy machine.
    assert max(waits) < 20.0
