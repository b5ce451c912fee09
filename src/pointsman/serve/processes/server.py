"""The process: start, serve, reload on SIGHUP, and on SIGTERM end without dropping a request.

Leaving goes in steps: not ready any more, still accepting with `Connection: close`; no new connections,
those in the kernel's queue accepted; running requests end; streams that outlast the grace are told so.
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sqlite3
import sys
from collections.abc import Callable
from typing import Any

from pointsman.errors import UpstreamError
from pointsman.serve.app import Application
from pointsman.serve.dispatch import Table
from pointsman.serve.edge.keys import check_exposure, load_access
from pointsman.serve.edge.listening import Listener, listen, listen_admin, shown_address
from pointsman.serve.failures import GatewayError
from pointsman.serve.gateway import Gateway, build
from pointsman.serve.logs import announce, log, setup
from pointsman.serve.operations.admin import reload_artifact
from pointsman.serve.routes import ADMIN, PUBLIC
from pointsman.serve.settings import GatewaySettings
from pointsman.serve.upstream.demo import EchoUpstream, with_demo_upstreams
from pointsman.serve.upstream.probe import probe

_LAST_WORDS_S = 2.0
_SIGNALS_GATHER_S = 0.2
"""From a signal to the reload that it asks for: a storm of them is one."""
_SWITCH_S = 0.001
"""The model's thread and the event loop take turns; Python's 5 ms between them would be most of a latency."""


def check(settings: GatewaySettings) -> None:
    """Validate what can be validated without listening: keys, upstream keys, the artifact.

    Raises:
        PointsmanError: what is wrong.
    """
    check_exposure(settings.server, load_access(settings.auth))
    gateway = build(settings)
    gateway.engine.main = gateway.engine.load(settings.inference.artifact)
    gateway.history.close()


def check_upstreams(settings: GatewaySettings) -> list[str]:
    """Ask each upstream for its models; returns a line about each.

    Raises:
        UpstreamError: a line about each that does not answer as it should.
    """
    lines, failed = [], []
    for name in ("local", "cloud"):
        upstream = getattr(settings.upstreams, name)
        if upstream is not None:
            try:
                lines.append(asyncio.run(probe(name, upstream)))
            except UpstreamError as error:
                failed.append(str(error))
    if failed:
        raise UpstreamError("\n".join(failed))
    return lines


def serve(settings: GatewaySettings) -> int:
    """Serve until a signal; returns the exit code 0.

    Raises:
        PointsmanError: it cannot start.
    """
    check_exposure(settings.server, load_access(settings.auth))
    setup(settings.server.log_level)
    tune_process()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        service = Service(settings, on_ready=lambda _: announce(service.greeting()))
        runner.run(service.run())
    return 0


def tune_process() -> None:
    """What only a process that is a gateway and nothing else may set."""
    sys.setswitchinterval(_SWITCH_S)
    # A batch is read in less than its threads cost, and they would run on the processors of other workers.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


class Service:
    """One process's listeners around one gateway.

    Args:
        settings: the effective settings.
        on_ready: called once in the event loop, with the gateway, when requests are answered.
        takes_signals: SIGTERM, SIGINT and SIGHUP are handled; only the main thread can.
        shared: a listening socket that other processes accept from, too; None listens where the settings say.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        on_ready: Callable[[Gateway], None] | None = None,
        takes_signals: bool = True,
        shared: socket.socket | None = None,
    ) -> None:
        self.settings = settings
        self._shared = shared
        self._on_ready = on_ready
        self._takes_signals = takes_signals
        self.servers: list[Listener] = []
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._is_reload_due = False
        self._reloading: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Serve until told to stop."""
        server, limits = self.settings.server, self.settings.limits
        demo: dict[str, Listener] = {}
        if self.settings.demo:
            for name in ("local", "cloud"):
                demo[name] = Listener(EchoUpstream(name), listen("127.0.0.1", 0), limits)
            ports = {name: echo.port for name, echo in demo.items()}
            self.settings = with_demo_upstreams(self.settings, ports)
        gateway = build(self.settings)
        if self._takes_signals:
            self._reload_on_signals(gateway)
        gateway.engine.open()
        public = Application(gateway, Table(PUBLIC), server.cors_origins)
        if self._shared is None:
            self.servers = [Listener(public, listen(server.host, server.port), limits)]
        else:
            self.servers = [Listener(public, self._shared, limits, is_last=False)]
        if admin := listen_admin(self.settings):
            self.servers.append(Listener(Application(gateway, Table(ADMIN)), admin, limits))
        for listener in (*demo.values(), *self.servers):
            await listener.start()
        if self._takes_signals:
            await self._end_on_signals()
        keeping = asyncio.create_task(gateway.keep_history())
        # What is loaded stays: the collector need not look through it again at every turn.
        gc.collect()
        gc.freeze()
        log("listening", **self._addresses(), version=gateway.engine.current.version)
        if self._on_ready is not None:
            self._on_ready(gateway)
        await self._stop.wait()
        await self._leave(gateway)
        keeping.cancel()
        with contextlib.suppress(sqlite3.Error):
            await asyncio.to_thread(gateway.history.close)
        await asyncio.gather(*(echo.close() for echo in demo.values()))

    def _reload_on_signals(self, gateway: Gateway) -> None:
        """From before the artifact is loaded: a signal that comes meanwhile may be about a newer one."""
        if hasattr(signal, "SIGHUP"):
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload, gateway)

    async def _end_on_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.stop)
        # A Ctrl-C from before ends it here, and not after the announcement.
        await asyncio.sleep(0)

    def greeting(self) -> str:
        """The line that says where it listens."""
        return f"pointsman listens on http://{shown_address(self.settings.server.host, self.servers[0].port)}"

    def stop(self) -> None:
        """Start a graceful shutdown; a second call skips the grace period."""
        (self._hurry if self._stop.is_set() else self._stop).set()

    def stop_with_all(self) -> None:
        """Start a graceful shutdown with every other process that accepts from the shared socket."""
        if self.servers:
            self.servers[0].is_last = True
        self._stop.set()

    def _reload(self, gateway: Gateway) -> None:
        """A reload soon; signals until it begins ask for the same one, later ones for one more."""

        async def work() -> None:
            while self._is_reload_due:
                await asyncio.sleep(_SIGNALS_GATHER_S)
                self._is_reload_due = False
                # The refusal is in the log already, and the old version serves on.
                with contextlib.suppress(GatewayError):
                    await reload_artifact(gateway, None)

        self._is_reload_due = True
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.get_running_loop().create_task(work())

    async def _leave(self, gateway: Gateway) -> None:
        server = self.settings.server
        gateway.is_draining = True
        log("draining", in_flight=gateway.in_flight)
        await self._pause(server.drain_delay_s)
        public = self.servers[0]
        await public.stop_accepting()
        is_done = await self._until_quiet(public, server.grace_s)
        if not is_done:
            log("cutting", level=logging.WARNING, streams=len(gateway.streams))
            for cut in list(gateway.streams):
                cut()
            self._hurry.clear()
            await self._until_quiet(public, _LAST_WORDS_S)
        await asyncio.gather(*(listener.close() for listener in self.servers))
        gateway.engine.close()
        gateway.upstreams.close()
        await asyncio.to_thread(gateway.tracing.close)
        for task in gateway.shadows:
            task.cancel()
        await asyncio.gather(*gateway.shadows, return_exceptions=True)
        if gateway.capture is not None:
            await asyncio.to_thread(gateway.capture.close)
        gateway.tally.tell()
        log("stopped")

    async def _until_quiet(self, listener: "Listener", most_s: float) -> bool:
        """Wait for the open requests; whether all ended in time."""
        loop = asyncio.get_running_loop()
        until = loop.time() + most_s
        while listener.is_busy:
            if loop.time() >= until or self._hurry.is_set():
                return False
            await asyncio.sleep(0.02)
        return True

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()

    def _addresses(self) -> dict[str, int]:
        names = ("port", "admin_port")
        return {name: listener.port for name, listener in zip(names, self.servers, strict=False)}


def loop_factory() -> Any:
    """Who makes the event loop: uvloop where it is installed, else None for asyncio's own."""
    try:
        import uvloop
    except ModuleNotFoundError:
        return None
    return uvloop.new_event_loop
