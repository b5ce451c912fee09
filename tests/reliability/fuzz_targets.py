"""What is fuzzed: each of our parsers as a function of bytes, with good input and words to begin with.

Whatever the bytes, a parser gives a value that holds what it promises, or one of its own errors; these
functions raise anything else.
"""

import asyncio
import contextlib
import json
import re
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from tests.support.openai_messages import whole

from pointsman.artifact.address import shipped_artifact
from pointsman.artifact.layout import MANIFEST
from pointsman.artifact.manifest import Manifest
from pointsman.errors import ManifestError, SettingsError
from pointsman.serve.edge.strict_json import parse
from pointsman.serve.failures import GatewayError
from pointsman.serve.observability.metrics import Metrics
from pointsman.serve.settings_loader import known_keys, load_settings, masked
from pointsman.serve.upstream.headers import FORWARDED
from pointsman.serve.upstream.sse import EventRelay, values
from pointsman.serve.upstream.upstreams import Upstreams

SECRET = "fuzzed-key-8d6b4f2a0c9e7b5d3f1a"
_LINE_END = re.compile(rb"\r\n?")
_OWN = {b"host", b"content-type", b"accept-encoding", b"user-agent", b"content-length", b"authorization"}


def json_body(data: bytes) -> None:
    """`parse`: what it takes can be written back, and is the same then."""
    try:
        value = parse(data)
    except GatewayError as error:
        assert error.code in ("invalid_json", "invalid_request")
        return
    assert parse(json.dumps(value, ensure_ascii=False, allow_nan=False).encode()) == value


def event_stream(data: bytes) -> None:
    """`EventRelay`: cut as the first bytes say, only whole events go on, and nothing is lost or changed."""
    places, body = data[:8], data[8:]
    edges = sorted({0, len(body), *(place * len(body) // 255 for place in places)})
    relay, out = EventRelay(), b""
    for start, end in pairwise(edges):
        out += relay.feed(body[start:end])
        assert not out or _LINE_END.sub(b"\n", out).endswith(b"\n\n")
    assert out + relay.rest() == body
    list(values(out, b"usage"))


def manifest(data: bytes) -> None:
    """`Manifest.from_json`: what it takes is the same artifact when it is written and read again."""
    try:
        found = Manifest.from_json(data)
    except ManifestError:
        return
    assert Manifest.from_json(found.to_json().encode()).id == found.id


def configuration(data: bytes) -> None:
    """`load_settings` from a TOML file and from variables; a file that is taken can be shown."""
    text = data.decode("utf-8", "replace")
    with tempfile.NamedTemporaryFile(suffix=".toml", dir="/dev/shm") as file:
        file.write(data)
        file.flush()
        with contextlib.suppress(SettingsError):
            masked(load_settings({}, Path(file.name), {}))
    lines = (line.partition("=") for line in text.splitlines())
    with contextlib.suppress(SettingsError):
        masked(load_settings({}, None, {f"POINTSMAN_{name.strip()}": value for name, _, value in lines}))


class HeaderFilter:
    """`Upstream.call`: only listed names go on, in one line each, and our key exactly once."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._heads: list[bytes] = []
        self._server = self._runner.run(asyncio.start_server(self._serve, "127.0.0.1", 0))
        url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        tree = {"upstreams": {"cloud": {"url": url, "api_key": SECRET}}}
        found = Upstreams(load_settings(tree, None, {}), Metrics(CollectorRegistry())).get("cloud")
        assert found is not None
        self._upstream = found

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                self._heads.append(await reader.readuntil(b"\r\n\r\n"))
                await reader.readexactly(len(b"{}"))
                writer.write(whole(b"{}"))
        writer.close()

    def __call__(self, data: bytes) -> None:
        """The bytes are lines of `name:value`; NUL ends a line, so that a value may hold CR and LF."""
        pairs = (line.partition(b":") for line in data.split(b"\0"))
        headers = {name.lower(): value for name, _, value in pairs}
        self._runner.run(self._call(headers))
        lines = self._heads.pop().split(b"\r\n")[1:-2]
        sent = [(name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
        names = [name for name, _ in sent]
        assert len(set(names)) == len(names)
        assert set(names) <= _OWN | set(FORWARDED)
        assert dict(sent)[b"authorization"] == b"Bearer " + SECRET.encode()
        assert all(value.isascii() and value.decode().isprintable() for _, value in sent)

    def close(self) -> None:
        """Close both ends."""
        self._upstream.close()
        self._server.close()
        self._runner.run(asyncio.sleep(0))
        self._runner.close()

    async def _call(self, headers: dict[bytes, bytes]) -> None:
        opened = await self._upstream.call("/x", b"{}", headers)
        while await opened.response.read():
            pass
        opened.response.close()


FUZZ_TARGETS: dict[str, Callable[[], Callable[[bytes], None]]] = {
    "json": lambda: json_body,
    "sse": lambda: event_stream,
    "manifest": lambda: manifest,
    "configuration": lambda: configuration,
    "headers": HeaderFilter,
}


def seeds(target: str) -> list[bytes]:
    """Good input to start from."""
    toml = [
        f"[{key.rpartition('.')[0]}]\n{key.rpartition('.')[2]} = 1\n" for key in known_keys() if "." in key
    ]
    variables = [f"{key.upper().replace('.', '__')}=1\n" for key in known_keys()]
    rule = '[[routing.rules]]\nname = "a"\nsend = "local"\nkeywords = ["x"]\npattern = "(a|b)+"\n'
    made: dict[str, list[str]] = {
        "json": ['{"query": ["a", "\\ud83d\\ude00", 1.5e3, -0, true, null]}', "[[[[]]]]", '"\\u00fc"'],
        "sse": ['........data: {"usage": {}}\n\n: c\r\n\r\ndata: x\r\rdata: [DONE]\n\n'],
        "manifest": [(shipped_artifact() / MANIFEST).read_text(encoding="utf-8")],
        "configuration": [*toml, *variables, rule],
        "headers": [
            "\0".join(f"{name.decode()}:value" for name in FORWARDED),
            "authorization:x\0cookie:a\r\nb",
        ],
    }
    return [text.encode() for text in made[target]]


def words(target: str) -> list[str]:
    """What a mutation may put in: libFuzzer cannot guess names that are compared by hash."""
    fields = Manifest.__dataclass_fields__
    made: dict[str, Any] = {
        "json": ['"\\ud800"', "NaN", "Infinity", "1e999", "-0", '"a":', "[[[[[[[[", "\\u0000", "{}"],
        "sse": ["data:", "\n\n", "\r\r", "\r\n\r\n", "\n\r", "[DONE]", "usage"],
        "manifest": [*(f'"{name}":' for name in fields), "null", "NaN", "1e999", "-1", "true", "[]", "{}"],
        "configuration": [
            *known_keys(),
            "[[",
            "]]",
            " = ",
            "true",
            "nan",
            "inf",
            "none",
            '"""',
            "1979-05-27",
        ],
        "headers": [*(name.decode() for name in FORWARDED), "authorization", "\r\n", "\0", ":"],
    }
    return list(made[target])
