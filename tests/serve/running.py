"""A gateway on real sockets, in a thread of this process."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from pointsman.serve.gateway import Gateway
from pointsman.serve.loading import load_settings
from pointsman.serve.server import Service
from pointsman.serve.settings import GatewaySettings


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

    def settle(self) -> None:
        """Wait until no request is open."""
        while self.gateway.in_flight:
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0.005), self.loop).result(10)


def settings_for(artifact: Path, **tables: Any) -> GatewaySettings:
    """Settings on free ports, from the given tables only: nothing is read from the environment."""
    tree = {
        "server": {"port": 0, "admin_port": 0, "log_level": "error", "drain_delay_s": 0.0, "grace_s": 5.0},
        "inference": {"artifact": str(artifact), "threads": 1},
        "limits": {"queue_timeout_ms": 10_000},
    }
    for name, table in tables.items():
        tree[name] = {**tree.get(name, {}), **table} if isinstance(table, dict) else table
    return load_settings(tree, None, {})


@contextlib.contextmanager
def running(settings: GatewaySettings) -> Iterator[Running]:
    """Start, hand out, stop."""
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
    assert ready.wait(30)
    if "error" in held:
        thread.join()
        raise held["error"]
    base, admin = (f"http://127.0.0.1:{listener.port}" for listener in service.servers)
    try:
        with (
            httpx.Client(base_url=base, timeout=20, trust_env=False) as http,
            httpx.Client(base_url=admin, timeout=20, trust_env=False) as admin_http,
        ):
            yield Running(held["gateway"], service, held["loop"], http, admin_http)
    finally:
        with contextlib.suppress(RuntimeError):
            held["loop"].call_soon_threadsafe(service.stop)
        thread.join(20)
        assert not thread.is_alive()
