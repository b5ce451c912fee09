"""Answers that are no answer, one fault each, and what the gateway says of them without a fallback."""

from tests.support.fake_upstream import STREAM_HEAD, Script, Wire, answer, hang_up


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


FAULTS: dict[str, tuple[Script, int, str]] = {
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
"""By name: the script, and the status and code of the error."""
