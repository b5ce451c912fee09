"""Coverage-guided fuzzing of one of our parsers, by atheris in an environment of its own.

    .peers/atheris/bin/python -m benchmarks.gateway.guided TARGET CORPUS SECONDS [SEED]

Whatever the bytes, a parser gives a value that holds what it promises, or one of its own errors; anything
else ends the run, and the bytes stay in CORPUS-crashes. CORPUS keeps what reached new code, for the next run.
"""

import asyncio
import contextlib
import json
import re
import sys
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["pointsman", "json", "tomllib"]):
    import httpx
    from prometheus_client import CollectorRegistry

    from pointsman.artifact.layout import MANIFEST
    from pointsman.artifact.manifest import Manifest
    from pointsman.errors import ManifestError, SettingsError
    from pointsman.runtime.router import shipped_artifact
    from pointsman.serve.failures import GatewayError
    from pointsman.serve.loading import known_keys, load_settings, masked
    from pointsman.serve.metrics import Metrics
    from pointsman.serve.sse import EventRelay, last_value
    from pointsman.serve.strict_json import parse
    from pointsman.serve.upstreams import FORWARDED, Upstreams

SECRET = "fuzzed-key-8d6b4f2a0c9e7b5d3f1a"
_LINE_END = re.compile(rb"\r\n?")
_MOST_BYTES = 4096


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
    last_value(out, b"usage")


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
        tree = {"upstreams": {"cloud": {"url": "http://127.0.0.1:9/v1", "api_key": SECRET}}}
        self._sent: list[httpx.Request] = []
        self._loop = asyncio.new_event_loop()
        metrics = Metrics(CollectorRegistry())
        self._upstreams = Upstreams(
            load_settings(tree, None, {}), metrics, lambda: httpx.MockTransport(self._answer)
        )
        self._own = {b"host", b"content-type", b"accept-encoding", b"user-agent", b"content-length"}

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self._sent.append(request)
        return httpx.Response(200, json={})

    def __call__(self, data: bytes) -> None:
        """The bytes are lines of `name:value`; NUL ends a line, so that a value may hold CR and LF."""
        pairs = (line.partition(b":") for line in data.split(b"\0"))
        headers = {name.lower(): value for name, _, value in pairs}
        self._loop.run_until_complete(self._call(headers))
        sent = [(name.lower(), value) for name, value in self._sent.pop().headers.raw]
        names = [name for name, _ in sent]
        assert len(set(names)) == len(names)
        assert set(names) <= self._own | set(FORWARDED) | {b"authorization"}
        assert dict(sent)[b"authorization"] == b"Bearer " + SECRET.encode()
        assert all(value.isascii() and value.decode().isprintable() for _, value in sent)

    async def _call(self, headers: dict[bytes, bytes]) -> None:
        upstream = self._upstreams.get("cloud")
        assert upstream is not None
        opened = await upstream.call("/x", b"{}", headers, self._loop.time() + 10)
        await opened.close()


TARGETS: dict[str, Callable[[], Callable[[bytes], None]]] = {
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


def main(target: str, corpus: Path, seconds: int, seed: int) -> None:
    """Fuzz until the time is up; atheris ends the process."""
    crashes = corpus.with_name(f"{corpus.name}-crashes")
    for folder in (corpus, crashes):
        folder.mkdir(parents=True, exist_ok=True)
    for index, data in enumerate(seeds(target)):
        (corpus / f"seed-{index}").write_bytes(data)
    dictionary = corpus.with_name(f"{corpus.name}.dict")
    dictionary.write_text("".join(f'"{_escaped(word)}"\n' for word in words(target)), encoding="ascii")
    flags = [f"-max_total_time={seconds}", f"-seed={seed}", f"-max_len={_longest(target)}", "-timeout=10"]
    flags += [
        f"-dict={dictionary}",
        f"-artifact_prefix={crashes}/",
        "-print_final_stats=1",
        "-rss_limit_mb=1024",
    ]
    atheris.Setup([sys.argv[0], *flags, str(corpus)], TARGETS[target]())
    atheris.Fuzz()


def _longest(target: str) -> int:
    return max(_MOST_BYTES, *(2 * len(data) for data in seeds(target)))


def _escaped(word: str) -> str:
    return "".join(c if c.isalnum() else f"\\x{ord(c):02x}" for c in word)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]) if len(sys.argv) > 4 else 1)
