"""Sockets, and how to stop listening without losing whoever is about to be accepted."""

import ctypes
import socket
import struct
import sys

from pointsman.errors import SettingsError

_SO_ATTACH_FILTER = 26
_BACKLOG = 2048
# Classic BPF over a TCP header: load the flags; drop what has SYN set, keep the rest.
_DROP_SYN = (
    struct.pack("HBBI", 0x30, 0, 0, 13)
    + struct.pack("HBBI", 0x45, 0, 1, 0x02)
    + struct.pack("HBBI", 0x06, 0, 0, 0)
    + struct.pack("HBBI", 0x06, 0, 0, 0xFFFFFFFF)
)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

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
    except OSError as error:
        if made is not None:
            made.close()
        raise SettingsError(f"cannot listen on {host}:{port}: {error.strerror or error}.") from None
    made.setblocking(False)
    return made


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
