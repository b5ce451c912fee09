"""G: the HTTP surface, raw bytes against it."""

import asyncio
import json
import re

from tests.reliability.suite import check
from tests.support import wire
from tests.support.harness.bench import Bench
from tests.support.harness.fronts import fronting, still_alive
from tests.support.harness.measure import Finding, Tally, at_most, none

TESTS = "tests/serve/test_limits.py"
CANARY = "canary-g-41aa"


_STATUS_LINE = re.compile(rb"HTTP/1\.\d \d{3}")


async def raw(port: int, data: bytes, wait_s: float = 5.0, many: int = 0) -> bytes:
    """What comes back for these bytes: `many` answers, or all until the other side closes or time is over."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    got = b""
    try:
        async with asyncio.timeout(wait_s):
            writer.write(data)
            if not many:
                writer.write_eof()
            while piece := await reader.read(65536):
                got += piece
                if many and got.count(b"}") >= many:
                    break
    except (OSError, TimeoutError):
        pass
    finally:
        writer.transport.abort()
    return got


def quirks() -> list[tuple[bytes, dict[str, str], set[int]]]:
    """Bodies that are nearly JSON: the body, headers, and the statuses that may answer it."""
    bad = {400}
    plain: list[bytes] = [
        b'{"query": "%s", "x": NaN}',
        b'{"query": "%s", "x": Infinity}',
        b'{"query": "%s", "x": -Infinity}',
        b'{"query": "%s", "x": 1e999}',
        b'{"query": "%s", "x": ' + b"9" * 5000 + b"}",
        b'{"query": "%s", "query": "b"}',
        b'{"query": "%s"',
        b"{\"query\": '%s'}",
        b'{"query": "%s",}',
        b'{"query": "\\ud800 %s"}',
        b'{"query": "%s\\udfff"}',
        b"[" * 100_000,
        b'{"a":' * 40 + b"1" + b"}" * 40,
        b"[]",
        b"",
        b" ",
        b"null",
        b"true",
        b"3",
        b'"',
        b"{}",
        b'{"query": null}',
        b'{"query": 7}',
        b'{"query": ["%s", 3]}',
        b'{"query": {"x": "%s"}}',
        b'{"query": []}',
        b"\xff\xfe{\x00",
        b'{"query": "\xff\xfe%s"}',
        b'\xef\xbb\xbf{"query": "%s"}',
        b"<xml>%s</xml>",
        b"\x00",
        b'{"query": "%s"}x',
        '{"query": "%s"}'.encode("utf-16"),
        '{"query": "%s"}'.encode("utf-32"),
    ]
    cases: list[tuple[bytes, dict[str, str], set[int]]] = [
        (body.replace(b"%s", CANARY.encode()), {}, bad) for body in plain
    ]
    fine = json.dumps({"query": CANARY}).encode()
    cases += [
        (fine, {"content-type": "text/plain"}, {415}),
        (fine, {"content-type": "application/x-www-form-urlencoded"}, {415}),
        (fine, {"content-encoding": "gzip"}, {415}),
        (fine, {"content-encoding": "br"}, {415}),
        (json.dumps({"query": CANARY * 60_000}).encode(), {}, {413}),
    ]
    return cases


@check(
    "G2",
    "What is almost JSON is refused with 400, 413 or 415, and the answer repeats none of it",
    reference="FastAPI: 500, or the input sent back",
    tests=TESTS,
)
async def json_quirks(bench: Bench) -> Finding:
    """The table of quirks on every route that takes JSON."""
    paths = ("/predict", "/classify", "/v1/chat/completions", "/score", "/", "/explain")
    tally = Tally(
        "another status than the table's", "answers that repeat the input", "errors of more than 2 KB"
    )
    async with fronting(bench) as front:
        for path in paths:
            for body, headers, allowed in quirks():
                answer = await front.ask(wire.request(path, body, headers))
                is_chat = path == "/v1/chat/completions"
                ok = answer.status in allowed or (is_chat and answer.status in (200, 413, 415, 400))
                if not ok:
                    print(f"      {path} {body[:40]!r} {answer.status} {answer.body[:120]!r}")
                is_error = answer.status >= 400
                tally.case(
                    not ok or answer.status >= 500,
                    is_error and CANARY.encode() in answer.body,
                    is_error and len(answer.body) > 2048,
                )
        alive = await still_alive(front.gateway)
    return Finding((*tally.measures(), alive))


def wire_cases() -> list[tuple[str, bytes]]:
    """Heads that smuggle, split or flood."""
    post = b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    body = b'{"query":"plan"}'
    length = b"content-length: %d\r\n" % len(body)
    return [
        ("CL and TE", post + length + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("two CLs", post + length + b"content-length: 3\r\n\r\n" + body),
        ("TE with a space", post + b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n"),
        ("TE twice", post + b"transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n"),
        ("TE odd", post + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n"),
        ("negative CL", post + b"content-length: -1\r\n\r\n"),
        ("CL with a sign", post + b"content-length: +16\r\n\r\n" + body),
        ("huge CL", post + b"content-length: 99999999999999999999\r\n\r\n"),
        ("obs-fold", post + b"x: a\r\n b\r\n\r\n"),
        ("bare LF", b"GET /livez HTTP/1.1\nhost: x\n\n"),
        ("NUL in the path", b"GET /li\0vez HTTP/1.1\r\nhost: x\r\n\r\n"),
        ("NUL in a header", b"GET /livez HTTP/1.1\r\nhost: x\r\nx: a\0b\r\n\r\n"),
        ("no Host", b"GET /livez HTTP/1.1\r\n\r\n"),
        ("absolute form", b"GET http://elsewhere/livez HTTP/1.1\r\nhost: x\r\n\r\n"),
        ("HTTP/0.9", b"GET /livez\r\n\r\n"),
        ("HTTP/3.0", b"GET /livez HTTP/3.0\r\nhost: x\r\n\r\n"),
        ("CONNECT", b"CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\n"),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
        ("h2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("200 KB header", b"GET /livez HTTP/1.1\r\nhost: x\r\nx: " + b"a" * 200_000 + b"\r\n\r\n"),
        ("20,000 headers", b"GET /livez HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * 20_000 + b"\r\n"),
        ("long path", b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n"),
        ("bad chunk size", post + b"transfer-encoding: chunked\r\n\r\nzz\r\n"),
        ("huge chunk size", post + b"transfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\nx"),
        ("cut chunk", post + b"transfer-encoding: chunked\r\n\r\n5\r\nab"),
        ("cut body", post + b"content-length: 50\r\n\r\n{"),
    ]


@check(
    "G3",
    "Requests that smuggle, split or flood are refused, and connections never get out of step",
    reference="Triton: memory of one chunk flood",
    tests=TESTS,
)
async def on_the_wire(bench: Bench) -> Finding:
    """Each case raw; after it, pipelined requests whose ids must come back in order; then chunk floods."""
    floods = bench.pick(5, 40, 100)
    tally, desync = Tally("answered 5xx", "cases with two answers"), 0
    chunks = 20_000
    async with await bench.gateway() as gateway:
        for name, data in wire_cases():
            got = await raw(gateway.port, data, 3.0)
            heads = len(_STATUS_LINE.findall(got))
            tally.case(got.startswith((b"HTTP/1.1 5", b"HTTP/1.0 5")), heads > 1)
            if heads > 1:
                print(f"      {name}: {got[:300]!r}")
        rounds = bench.pick(10, 100, 500)
        for turn in range(rounds):
            ids = [f"p{turn}-{index}" for index in range(8)]
            asked = b"".join(wire.predict("plan", {"x-request-id": name}) for name in ids)
            got = await raw(gateway.port, asked, many=len(ids))
            came = [part.split(b"\r\n")[0].decode() for part in got.split(b"x-request-id: ")[1:]]
            desync += came != ids
        head = b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        flood = head + b"transfer-encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * chunks + b"0\r\n\r\n"
        await raw(gateway.port, flood, 20)
        before = gateway.rss_mb
        for _ in range(floods):
            await raw(gateway.port, flood, 20)
        grown = gateway.rss_mb - before
        alive = await still_alive(gateway)
    return Finding(
        (
            *tally.measures(),
            none("pipelines out of step", desync, rounds),
            at_most(f"memory after chunk floods of {chunks} pieces", grown, 1.0, "MiB", floods),
            alive,
        )
    )


@check("G8", "No request can inject a line into a response's headers or into the log", tests=TESTS)
async def splitting(bench: Bench) -> Finding:
    """CR, LF, escapes and long ids in every place that comes back or is logged."""
    marks = [
        "a\r\nset-cookie: x=1",
        "a\nb",
        "a\x1b[31mred",
        "a" * 10_000,
        "a\u2028b",
        "%0d%0aset-cookie:%20x=1",
        '"}\n{"event":"x"',
    ]
    heads, lines = Tally("injected header lines"), Tally("log lines that are not one JSON object")
    async with fronting(bench) as front:
        for mark in marks:
            safe = mark.encode("utf-8", "replace").decode("latin-1")
            one_line = safe.replace("\r", "").replace("\n", "")
            for data in (
                wire.chat("q", {"x-request-id": safe}),
                wire.chat("q", {"x-request-id": one_line}),
                wire.chat("q", model=mark),
                wire.chat("q", {"x-pointsman-tags": one_line, "x-pointsman-session": one_line}),
                wire.get(f"/{one_line}"),
                wire.get("/v2/models/" + one_line.replace(" ", "%20")),
            ):
                got = await raw(front.gateway.port, data, 3.0)
                head = got.partition(b"\r\n\r\n")[0].lower()
                heads.case(b"\r\nset-cookie" in head or b"\x1b" in head)
        for line in front.gateway.log.read_bytes().splitlines():
            lines.case(not _is_json(line) or b"\x1b" in line)
        alive = await still_alive(front.gateway)
    return Finding((*heads.measures(), *lines.measures(), alive))


def _is_json(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
