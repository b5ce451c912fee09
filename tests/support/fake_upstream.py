"""An upstream on a real socket, scripted per request; it keeps what it was sent."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Sequence

from tests.support.fault_upstream import drop_packets, free_port
from tests.support.openai_messages import (
    DONE,
    END,
    STREAM_HEAD,
    RecordedRequest,
    chunk,
    completion,
    delta,
    whole,
)

__all__ = [
    "DONE",
    "STREAM_HEAD",
    "FakeUpstream",
    "Wire",
    "answer",
    "chunk",
    "completion",
    "delta",
    "free_port",
    "stream",
]


class Wire(RecordedRequest):
    """One request as it arrived, and the raw connection to answer it on."""

    def __init__(self, connection: socket.socket, head: bytes) -> None:
        super().__init__(head)
        self._connection = connection

    def send(self, data: bytes) -> None:
        self._connection.sendall(data)

    def reset(self) -> None:
        """Close with RST."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._connection.close()

    def finish(self) -> None:
        """Close with FIN: what was sent arrives."""
        self._connection.shutdown(socket.SHUT_RDWR)

    def wait_for_close(self, most_s: float = 60.0) -> bool:
        """Whether the other side closed, in that time."""
        self._connection.settimeout(most_s)
        try:
            return self._connection.recv(1) == b""
        except ConnectionError:
            return True
        except TimeoutError:
            return False


Script = Callable[[Wire], None]


class FakeUpstream:
    """Listens on loopback until closed; one thread a connection."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.seen: list[Wire] = []
        self.connections = 0
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def vanish(self) -> None:
        """Let the connections that stand take no packet more; Linux only."""
        for connection in list(self._open):
            drop_packets(connection)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.add(connection)
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while wire := self._read(connection):
                self.seen.append(wire)
                self.script(wire)
        self._open.discard(connection)

    def _read(self, connection: socket.socket) -> Wire | None:
        data = b""
        while b"\r\n\r\n" not in data:
            piece = connection.recv(65536)
            if not piece:
                return None
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        wire = Wire(connection, head)
        while len(body) < wire.length:
            piece = connection.recv(65536)
            if not piece:
                return None  # the client was killed
            body += piece
        wire.body = body
        return wire


def answer(status: int = 200, body: bytes | None = None, headers: str = "") -> Script:
    """A whole answer; without a body a small completion."""

    def script(wire: Wire) -> None:
        wire.send(whole(completion("fine") if body is None else body, status, headers))

    return script


def stream(pieces: Sequence[bytes]) -> Script:
    """A whole stream of these pieces, one chunk each."""

    def script(wire: Wire) -> None:
        wire.send(STREAM_HEAD)
        for piece in pieces:
            wire.send(chunk(piece))
        wire.send(END)

    return script


def hang_up(wire: Wire) -> None:
    """Close without a word."""
    wire.reset()
