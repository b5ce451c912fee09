"""A headless chromium, driven over its debugging socket: the fixture `browser` of every test."""

import base64
import contextlib
import json
import os
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from tests.support.waiting import MOST_S, until

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Browser:
    """What one debugging socket reaches: a tab, or the whole browser.

    Attributes:
        problems: what the page logged as an error, and what it threw.
    """

    def __init__(self, port: int, path: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=MOST_S)
        key = base64.b64encode(os.urandom(16)).decode()
        self._socket.sendall(
            f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
            f"sec-websocket-key: {key}\r\nsec-websocket-version: 13\r\n\r\n".encode()
        )
        self._file = self._socket.makefile("rb")
        while self._file.readline() != b"\r\n":
            pass
        self._calls = 0
        self.problems: list[Any] = []

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def call(self, method: str, **params: Any) -> Any:
        self._calls += 1
        data = json.dumps({"id": self._calls, "method": method, "params": params}).encode()
        self._socket.sendall(b"\x81" + struct.pack(">BH", 0x80 | 126, len(data)) + b"\0\0\0\0" + data)
        while True:
            message = self._message()
            level = message.get("params", {}).get("entry", {}).get("level")
            if message.get("method") == "Runtime.exceptionThrown" or level == "error":
                self.problems.append(message["params"])
            if message.get("id") == self._calls:
                return message.get("result")

    def run(self, code: str) -> Any:
        found = self.call("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        return found["result"].get("value")

    def until(self, code: str) -> None:
        deadline = time.monotonic() + MOST_S
        while not self.run(code):
            assert time.monotonic() < deadline, code
            time.sleep(0.02)

    def _message(self) -> Any:
        data = b""
        while True:
            first, second = self._file.read(2)
            size = second & 127
            if size > 125:
                kind = ">H" if size == 126 else ">Q"
                (size,) = struct.unpack(kind, self._file.read(struct.calcsize(kind)))
            data += self._file.read(size)
            if first & 0x80:
                return json.loads(data)


@contextlib.contextmanager
def started(home: Path) -> Iterator[int]:
    """Start one; its debugging port."""
    assert CHROMIUM
    arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
    command = [CHROMIUM, *arguments, f"--user-data-dir={home}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: _port(home) or process.poll() is not None)
        assert process.poll() is None
        yield _port(home)
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def new_tab(port: int) -> Iterator[Browser]:
    """A tab with a profile of its own."""
    version = httpx.get(f"http://127.0.0.1:{port}/json/version", trust_env=False, timeout=MOST_S).json()
    whole = Browser(port, version["webSocketDebuggerUrl"].split(str(port), 1)[1])
    profile = whole.call("Target.createBrowserContext")
    tab = whole.call("Target.createTarget", url="about:blank", **profile)["targetId"]
    made = Browser(port, f"/devtools/page/{tab}")
    yield made
    made.close()
    whole.call("Target.disposeBrowserContext", **profile)
    whole.close()


def _port(home: Path) -> int:
    file = home / "DevToolsActivePort"
    lines = file.read_text().splitlines() if file.exists() else []
    return int(lines[0]) if len(lines) > 1 else 0
