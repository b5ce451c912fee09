"""Several processes behind one port: started, watched, replaced when they die, and ended together.

The parent binds the socket and hands it down, so that a living worker accepts what is in its queue. It loads
no model, and every worker is a fresh interpreter: nothing is forked. A worker that hangs is left alone: it
accepts no connection, and its clients may come back.
"""

import asyncio
import contextlib
import json
import logging
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

from pydantic import SecretStr

from pointsman.errors import SettingsError
from pointsman.serve.edge.keys import check_exposure, load_access
from pointsman.serve.edge.listening import Listener, listen, listen_admin, shown_address
from pointsman.serve.logs import announce, log, setup
from pointsman.serve.processes.admin_proxy import AdminProxy
from pointsman.serve.processes.worker_pool import Worker, WorkerPool
from pointsman.serve.settings import GatewaySettings

_LAST_WAIT_S = 10.0
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0


def supervise(settings: GatewaySettings) -> int:
    """Serve with `server.workers` processes until a signal; returns the exit code.

    Raises:
        PointsmanError: it cannot start.
    """
    if sys.platform == "win32":
        raise SettingsError("server.workers: several processes need Linux or macOS; leave it at 1.")
    check_exposure(settings.server, load_access(settings.auth))
    setup(settings.server.log_level)
    return asyncio.run(Supervisor(settings).run())


class Supervisor:
    """The parent of the workers."""

    def __init__(self, settings: GatewaySettings) -> None:
        self.settings = settings
        self.pool = WorkerPool(settings)
        self._processes: set[Process] = set()
        self._stop = asyncio.Event()
        self._socket: socket.socket | None = None
        self._inside: Listener | None = None
        """Where the workers ask for each other, whatever the operator's admin address is."""

    async def run(self) -> int:
        """Serve until told to stop; the exit code is that of the first worker where it cannot start."""
        server = self.settings.server
        self._socket = listen(server.host, server.port)
        self._handle_signals()
        self._inside = Listener(AdminProxy(self.pool), listen("127.0.0.1", 0), self.settings.limits)
        await self._inside.start()
        # The first one alone: what is wrong with the artifact is said once, and nothing else was started.
        code = await self._start(0)
        if code is not None:
            await self._inside.close()
            return 0 if self._stop.is_set() else code
        slots = range(server.workers)
        await asyncio.gather(*(self._start(slot) for slot in slots[1:]))
        admin: Listener | None = None
        if found := listen_admin(self.settings):
            admin_proxy = AdminProxy(self.pool, lends_key=self.pool.is_open)
            admin = Listener(admin_proxy, found, self.settings.limits)
            await admin.start()
        port = self._socket.getsockname()[1]
        ports = {"port": port} if admin is None else {"port": port, "admin_port": admin.port}
        log("listening", **ports, workers=len(self.pool.workers))
        announce(f"pointsman listens on http://{shown_address(server.host, port)}")
        watchers = [asyncio.create_task(self._watch(slot)) for slot in slots]
        await self._stop.wait()
        await self._leave()
        await asyncio.gather(*watchers)
        for listener in (admin, self._inside):
            if listener is not None:
                await listener.close()
        return 0

    async def _watch(self, slot: int) -> None:
        """Keep one slot filled."""
        pause_s = 0.0
        while not self._stop.is_set():
            worker = self.pool.workers.get(slot)
            if worker is not None:
                code = await worker.process.wait()
                self._processes.discard(worker.process)
                del self.pool.workers[slot]
                if self._stop.is_set():
                    return
                log("worker ended", level=logging.WARNING, worker=slot, exit_code=code)
            if await self._start(slot) is None:
                pause_s = 0.0
                continue
            pause_s = min(_LONGEST_PAUSE_S, 2 * pause_s or _FIRST_PAUSE_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._stop.wait()

    async def _start(self, slot: int) -> int | None:
        """Start one and wait until it answers; its exit code where it ends instead."""
        assert self._socket is not None
        assert self._inside is not None
        descriptor = self._socket.fileno()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "pointsman", "serve", "--worker-socket", str(descriptor)),
            stdin=PIPE,
            stdout=PIPE,
            pass_fds=(descriptor,),
            # Ctrl-C in a terminal reaches a whole process group; it is the parent that tells the workers.
            start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        self._processes.add(process)
        with contextlib.suppress(ConnectionError):
            parent = {"port": self._inside.port, "key": self.pool.key}
            process.stdin.write(json.dumps(parent).encode() + b"\n" + _revealed(self.pool.settings) + b"\n")
            await process.stdin.drain()
        if self._stop.is_set():
            process.stdin.close()
        line = await process.stdout.readline()
        if not line:
            self._processes.discard(process)
            return await process.wait()
        self.pool.workers[slot] = Worker(slot, process, json.loads(line)["admin_port"])
        return None

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        loop.add_signal_handler(signal.SIGHUP, self._reload)

    def _end(self) -> None:
        """Start a graceful shutdown; a second call skips the grace period."""
        if not self._stop.is_set():
            self._stop.set()
            log("draining", workers=len(self.pool.workers))
            for process in self._processes:
                if process.stdin is not None:
                    process.stdin.close()
            return
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()

    def _reload(self) -> None:
        for worker in self.pool.workers.values():
            with contextlib.suppress(ProcessLookupError):
                worker.process.send_signal(signal.SIGHUP)

    async def _leave(self) -> None:
        """Wait for the workers; who takes far longer than the grace is killed."""
        server = self.settings.server
        waiting = [asyncio.create_task(process.wait()) for process in self._processes]
        if waiting:
            await asyncio.wait(waiting, timeout=server.drain_delay_s + server.grace_s + _LAST_WAIT_S)
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        if self._socket is not None:
            self._socket.close()
        log("stopped")


def _revealed(settings: GatewaySettings) -> bytes:
    """The settings with their secrets, for the pipe to a worker and nowhere else."""

    def plain(value: object) -> str:
        if isinstance(value, SecretStr):
            return value.get_secret_value()
        assert isinstance(value, Path)
        return str(value)

    return json.dumps(settings.model_dump(), default=plain).encode()
