"""What holds for every input of our own parsers: the event relay, the JSON reader, the header filter."""

import asyncio
import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from tests.support.fake_upstream import FakeUpstream, answer
from tests.support.running import settings_for

from pointsman.serve.edge.strict_json import parse
from pointsman.serve.failures import GatewayError
from pointsman.serve.observability.metrics import Metrics
from pointsman.serve.upstream.headers import FORWARDED
from pointsman.serve.upstream.sse import EventRelay
from pointsman.serve.upstream.upstreams import Upstreams

LINE_ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
lines = st.sampled_from(
    [b"data: x", b": comment", b"event: e", "data: ü€😀".encode(), b"data:[DONE]", b"junk"]
)
events = st.lists(st.tuples(st.lists(lines, min_size=1, max_size=3), LINE_ENDS), max_size=6)


def written(made: list[tuple[list[bytes], bytes]]) -> bytes:
    return b"".join(b"".join(line + end for line in body) + end for body, end in made)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(edges)]


class TestTheEventRelay:
    @given(events, st.binary(max_size=20), st.lists(st.integers(0, 2000), max_size=30))
    def test_what_goes_out_is_what_came_in_however_it_was_cut(
        self, made: list[tuple[list[bytes], bytes]], rest: bytes, places: list[int]
    ) -> None:
        data = written(made) + rest
        relay = EventRelay()
        assert b"".join([relay.feed(piece) for piece in cut(data, places)]) + relay.rest() == data

    @given(events, st.lists(st.integers(0, 2000), max_size=30))
    def test_only_whole_events_go_out(self, made: list[tuple[list[bytes], bytes]], places: list[int]) -> None:
        relay, out = EventRelay(), b""
        for piece in cut(written(made), places):
            out += relay.feed(piece)
            assert not out or re.sub(rb"\r\n?", b"\n", out).endswith(b"\n\n")

    @given(events, st.lists(st.integers(0, 2000), max_size=30))
    def test_a_finished_stream_keeps_nothing_back(
        self, made: list[tuple[list[bytes], bytes]], places: list[int]
    ) -> None:
        relay = EventRelay()
        for piece in cut(written(made), places):
            relay.feed(piece)
        # Of CR LF the LF may still be to come when the event is out; nothing else is ever left.
        assert relay.rest() in (b"", b"\n")


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


class TestTheJsonReader:
    @given(values, st.booleans())
    def test_json_is_read_as_it_was_written(self, value: Any, is_ascii: bool) -> None:
        assert parse(json.dumps(value, ensure_ascii=is_ascii).encode()) == value

    @given(
        st.binary(max_size=60)
        | st.text(st.characters(), max_size=60).map(lambda t: t.encode("utf-8", "replace"))
    )
    def test_anything_else_is_refused_by_code_and_unquoted(self, body: bytes) -> None:
        try:
            value = parse(body)
        except GatewayError as error:
            assert error.code in ("invalid_json", "invalid_request")
            assert len(error.message) < 100
        else:
            assert parse(json.dumps(value, allow_nan=False).encode()) == value

    @given(values, st.data())
    def test_a_broken_document_never_raises_anything_else(self, value: Any, data: st.DataObject) -> None:
        body = bytearray(json.dumps(value).encode())
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + 1] = data.draw(
            st.sampled_from([b"", b"\\ud800", b"NaN", b"\xff", b"[" * 40, b'"', b"1e999"])
        )
        try:
            found = parse(bytes(body))
        except GatewayError as error:
            assert error.code in ("invalid_json", "invalid_request")
        else:
            json.dumps(found, allow_nan=False, ensure_ascii=False).encode("utf-8")


KEY = "own-key-8d6b4f2a0c9e7b5d3f1a"
OWN = {"host", "content-type", "accept-encoding", "user-agent", "authorization", "content-length"}
SMUGGLED = [
    "authorization",
    "cookie",
    "x-forwarded-for",
    "connection",
    "transfer-encoding",
    "host",
    "api-key",
    "te",
]
names = st.sampled_from([*SMUGGLED, *(name.decode() for name in FORWARDED)]) | st.from_regex(
    r"[a-z-]{1,12}", fullmatch=True
)
header_values = st.binary(max_size=30) | st.just(b"x" * 5000) | st.just(b"a\r\nx-injected: 1")


@pytest.fixture(scope="module")
def asked() -> Iterator[FakeUpstream]:
    made = FakeUpstream(answer())
    yield made
    made.close()


@pytest.fixture(scope="module")
def settings(artifact: Path, asked: FakeUpstream) -> Any:
    upstream = {"url": asked.url, "model": "m", "api_key": KEY}
    return settings_for(artifact, upstreams={"cloud": upstream})


class TestTheHeaderFilter:
    @given(given=st.dictionaries(names, header_values, max_size=8))
    def test_only_listed_names_go_out_and_our_key_goes_once(
        self, settings: Any, asked: FakeUpstream, given: dict[str, bytes]
    ) -> None:
        upstream = Upstreams(settings, Metrics(CollectorRegistry())).get("cloud")
        assert upstream is not None

        async def call() -> None:
            headers = {name.encode(): value for name, value in given.items()}
            opened = await upstream.call("/chat/completions", b"{}", headers)
            opened.response.close()
            upstream.close()

        asyncio.run(call())
        wire = asked.seen[-1]
        sent = [(name, wire.headers[name].encode("latin-1")) for name in wire.header_names]
        assert {name for name, _ in sent} <= OWN | {name.decode() for name in FORWARDED}
        assert [value for name, value in sent if name == "authorization"] == [f"Bearer {KEY}".encode()]
        assert len({name for name, _ in sent}) == len(sent)
        for _, value in sent:
            assert b"\r" not in value and b"\n" not in value and len(value) <= 512
