"""One of several processes behind one port.

Its parent writes two lines to standard input, where to ask for the other workers and the settings, and keeps
it open: its end means that the whole gateway ends, and a parent that died is such an end, too. One line goes
to standard output once requests are answered: the port of this process's own admin routes.
"""

import asyncio
import json
import socket
import sys

from pointsman.runtime.session import available_threads
from pointsman.serve.gateway import Gateway
from pointsman.serve.logs import setup
from pointsman.serve.observability.peers import Peers
from pointsman.serve.processes.server import Service, loop_factory, tune_process
from pointsman.serve.settings import GatewaySettings
from pointsman.settings import Settings

_STDIN = 0


def work(descriptor: int) -> int:
    """Serve from an inherited listening socket; returns the exit code 0.

    Raises:
        PointsmanError: it cannot start.
    """
    parent = json.loads(sys.stdin.buffer.readline() or b"{}")
    settings = _own(GatewaySettings.model_validate_json(sys.stdin.buffer.readline()))
    setup(settings.server.log_level)
    tune_process()
    shared = socket.socket(fileno=descriptor)
    shared.setblocking(False)

    def ready(gateway: Gateway) -> None:
        loop = asyncio.get_running_loop()
        gateway.peers = Peers(**parent)

        def parent_left() -> None:
            loop.remove_reader(_STDIN)
            service.stop_with_all()

        loop.add_reader(_STDIN, parent_left)
        print(json.dumps({"admin_port": service.servers[1].port}), flush=True)

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        service = Service(settings, on_ready=ready, shared=shared)
        runner.run(service.run())
    return 0


def _own(settings: GatewaySettings) -> GatewaySettings:
    """The settings of one worker: its share of the processors, its admin routes on a port of its own."""
    threads = settings.inference.threads or Settings.load().threads
    threads = threads or max(1, available_threads() // settings.server.workers)
    server = settings.server.model_copy(update={"admin_host": "127.0.0.1", "admin_port": 0})
    inference = settings.inference.model_copy(update={"threads": threads})
    return settings.model_copy(update={"server": server, "inference": inference})
