"""A gateway on real sockets, in a thread of this process or in a process of its own, and load on it."""

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self
from unittest.mock import patch

import httpx
from tests.support.process import environment_without_settings
from tests.support.waiting import until

from pointsman.serve.edge import listening
from pointsman.serve.gateway import Gateway
from pointsman.serve.processes.server import Service
from pointsman.serve.settings import GatewaySettings
from pointsman.serve.settings_loader import load_settings


@dataclass
class Running:
    """A gateway that answers.

    Attributes:
        http: a client of its public address.
        admin: a client of its admin address.
    """

    gateway: Gateway
    service: Service
    loop: asyncio.AbstractEventLoop
    http: httpx.Client
    admin: httpx.Client

    @property
    def port(self) -> int:
        return self.service.servers[0].port

    def chat(self, text: str = "analyze the plan", /, **rest: Any) -> httpx.Response:
        headers = rest.pop("headers", None)
        body = {"model": "auto", "messages": [{"role": "user", "content": text}], **rest}
        return self.http.post("/v1/chat/completions", json=body, headers=headers)

    def wait_for_first_byte(self, name: str, most_s: float) -> None:
        """From the next call of this upstream on; an upstream that answers has a minute, as a rule."""
        upstream = self.gateway.upstreams.get(name)
        assert upstream is not None
        upstream.settings = upstream.settings.model_copy(update={"first_byte_timeout_s": most_s})

    def settle(self) -> None:
        """Wait until no request is open, and what follows the last one (its line, its counts) is done."""
        until(lambda: not self.gateway.in_flight)
        # That belongs to the same turn of the event loop.
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), self.loop).result(60)


def settings_for(artifact: Path, **tables: Any) -> GatewaySettings:
    """Settings on free ports, from the given tables only: nothing is read from the environment."""
    tree: dict[str, Any] = {
        "server": {"port": 0, "admin_port": 0, "log_level": "error", "drain_delay_s": 0.0, "grace_s": 5.0},
        "inference": {"artifact": str(artifact), "threads": 1},
        "limits": {"queue_timeout_ms": 60_000},
    }
    for name, table in tables.items():
        tree[name] = {**tree.get(name, {}), **table} if isinstance(table, dict) else table
    return load_settings(tree, None, {})


@contextlib.contextmanager
def running(settings: GatewaySettings) -> Iterator[Running]:
    """Start, hand out, stop; without the tenth of a second for connections that no test has on their way."""
    ready = threading.Event()
    held: dict[str, Any] = {}

    def on_ready(gateway: Gateway) -> None:
        held.update(gateway=gateway, loop=asyncio.get_running_loop())
        ready.set()

    service = Service(settings, on_ready=on_ready, takes_signals=False)

    def work() -> None:
        try:
            asyncio.run(service.run())
        except BaseException as error:
            held["error"] = error
            ready.set()
            raise

    thread = threading.Thread(target=work)
    thread.start()
    assert ready.wait(60)
    if "error" in held:
        thread.join()
        raise held["error"]
    base, admin = (f"http://127.0.0.1:{listener.port}" for listener in service.servers)
    try:
        with (
            httpx.Client(base_url=base, timeout=60, trust_env=False) as http,
            httpx.Client(base_url=admin, timeout=60, trust_env=False) as admin_http,
        ):
            yield Running(held["gateway"], service, held["loop"], http, admin_http)
    finally:
        with patch.object(listening, "_ACCEPT_REST_S", 0.0):
            with contextlib.suppress(RuntimeError):
                held["loop"].call_soon_threadsafe(service.stop)
            thread.join(60)
        assert not thread.is_alive()


class Process:
    """`pointsman serve` as a process of its own."""

    def __init__(self, artifact: Path, log: IO[bytes], *arguments: str, **environment: str) -> None:
        command = [sys.executable, "-m", "pointsman", "serve", "--port", "0", "--admin-port", "none"]
        self.process = subprocess.Popen(
            [*command, "--artifact", str(artifact), *arguments],
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment_without_settings(environment),
            cwd=artifact,
        )
        assert self.process.stdout
        line = self.process.stdout.readline().decode()
        assert line.startswith("pointsman listens on http://"), line
        self.url = line.split()[-1]
        self.port = int(self.url.rsplit(":", 1)[1])

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(60)
        assert self.process.stdout
        self.process.stdout.close()
        return code


def post_head(path: str, length: int) -> bytes:
    """The head of a POST of JSON."""
    lines = (f"POST {path} HTTP/1.1", "host: localhost", "content-type: application/json")
    return "\r\n".join((*lines, f"content-length: {length}", "", "")).encode()


class Load:
    """Four clients with a new connection for each request: once connected and sent, an answer must come."""

    def __init__(self, port: int) -> None:
        body = b'{"query": "plan"}'
        head = post_head("/predict", len(body))
        self._request = head + body
        self._address = ("127.0.0.1", port)
        self._counts = [[0, 0] for _ in range(4)]
        self._threads = [threading.Thread(target=self._ask, args=(count,)) for count in self._counts]
        self._is_over = False

    @property
    def answered(self) -> int:
        return sum(count[0] for count in self._counts)

    @property
    def lost(self) -> int:
        return sum(count[1] for count in self._counts)

    def until(self, answered: int) -> None:
        """Wait until that many more answers have come."""
        wanted = self.answered + answered
        until(lambda: self.answered >= wanted)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        for thread in self._threads:
            thread.join()

    def _ask(self, count: list[int]) -> None:
        while not self._is_over:
            try:
                made = socket.create_connection(self._address, timeout=0.9)
            except OSError:
                return
            with made:
                made.settimeout(60)
                try:
                    made.sendall(self._request)
                    got = made.recv(65536)
                except OSError:
                    got = b""
            count[not (b" 200 OK" in got or b" 503 " in got)] += 1
