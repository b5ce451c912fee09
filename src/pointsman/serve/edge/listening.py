"""Sockets, uvicorn behind them, and how to stop listening without losing waiting connections."""

import asyncio
import contextlib
import ctypes
import socket
import struct
import sys
from collections.abc import Iterator
from typing import Any

import uvicorn

from pointsman.errors import SettingsError
from pointsman.serve.edge.protocol import bounded_protocol
from pointsman.serve.settings import GatewaySettings, LimitSettings

_SO_ATTACH_FILTER = 26
_BACKLOG = 2048
_ACCEPT_REST_S = 0.1
_KEEP_ALIVE_S = 30
# Classic BPF over a TCP header: load the flags; drop what has SYN set, keep the rest.
_DROP_SYN = (
    struct.pack("HBBI", 0x30, 0, 0, 13)
    + struct.pack("HBBI", 0x45, 0, 1, 0x02)
    + struct.pack("HBBI", 0x06, 0, 0, 0)
    + struct.pack("HBBI", 0x06, 0, 0, 0xFFFFFFFF)
)


def listen_admin(settings: GatewaySettings) -> socket.socket | None:
    """The admin routes' socket, or None where they are off; a demo takes a free port where its own is busy.

    Raises:
        SettingsError: the address cannot be had.
    """
    server = settings.server
    if server.admin_port is None:
        return None
    try:
        return listen(server.admin_host, server.admin_port, "--admin-port")
    except SettingsError:
        if not settings.demo or "admin_port" in server.model_fields_set:
            raise
        return listen(server.admin_host, 0)


def listen(host: str, port: int, flag: str = "--port") -> socket.socket:
    """A listening socket; `flag` sets its port.

    Raises:
        SettingsError: the address cannot be had.
    """
    made: socket.socket | None = None
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)[0]
        family, kind, protocol, _, address = found
        # With the protocol left at 0, asyncio does not recognise TCP and leaves Nagle's delay on: 40 ms.
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(_BACKLOG)
    except (OSError, UnicodeError) as error:
        if made is not None:
            made.close()
        if isinstance(error, socket.gaierror | UnicodeError):
            flag = "server.admin_host" if flag == "--admin-port" else "--host"
        reason = f"{getattr(error, 'strerror', None) or 'no such address'}. Set {flag}."
        raise SettingsError(f"cannot listen on {host}:{port}: {reason}") from None
    made.setblocking(False)
    return made


def shown_address(host: str, port: int) -> str:
    """An address as it stands in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def refuse_new(listener: socket.socket) -> bool:
    """Let no new connection into the queue, so that what is in it can be accepted before the socket closes.

    Closing a listener resets the connections that the kernel has taken but we have not accepted. A client
    whose SYN is dropped here tries again a second later, and is then refused by the kernel.

    Returns:
        Whether the system can do that; elsewhere a connection in the queue may be lost.
    """
    if not sys.platform.startswith("linux"):
        return False
    program = ctypes.create_string_buffer(_DROP_SYN, len(_DROP_SYN))
    try:
        listener.setsockopt(
            socket.SOL_SOCKET,
            _SO_ATTACH_FILTER,
            struct.pack("HL", len(_DROP_SYN) // 8, ctypes.addressof(program)),
        )
    except OSError:
        return False
    return True


class Listener:
    """One socket and uvicorn behind it.

    Args:
        app: an ASGI application.
        listener: the socket; it is closed with this.
        limits: of the head of a request.
        is_last: no other process goes on accepting from this socket, so its queue is emptied first.
    """

    def __init__(
        self, app: Any, listener: socket.socket, limits: LimitSettings, *, is_last: bool = True
    ) -> None:
        self._socket = listener
        self.is_last = is_last
        self.port = int(listener.getsockname()[1])
        config = uvicorn.Config(
            app,
            http=bounded_protocol(limits),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
        )
        config.load()
        self._server = _Server(config)
        self._server.lifespan = config.lifespan_class(config)
        self._ticks: asyncio.Task[None] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a request is being answered."""
        return bool(self._server.server_state.tasks)

    async def start(self) -> None:
        """Accept connections."""
        await self._server.startup(sockets=[self._socket])
        self._ticks = asyncio.get_running_loop().create_task(self._server.main_loop())

    async def stop_accepting(self) -> None:
        """Accept what is in the kernel's queue, then no more; connections without a request are closed."""
        if self.is_last and refuse_new(self._socket):
            await asyncio.sleep(_ACCEPT_REST_S)
        for server in self._server.servers:
            server.close()
        self._socket.close()
        for connection in list(self._server.server_state.connections):
            connection.shutdown()

    async def close(self) -> None:
        """Close everything."""
        if self._ticks is not None:
            self._ticks.cancel()
            await asyncio.gather(self._ticks, return_exceptions=True)
        if self._socket.fileno() >= 0:
            await self.stop_accepting()
        for connection in list(self._server.server_state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None:
                transport.close()


class _Server(uvicorn.Server):
    """Leaves signals to the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
