"""A relay of bytes and of nothing else, in a process on the server's core: what two more sockets cost.

    python -m benchmarks.serving.bytes_relay PORT

Passes every connection on to PORT on loopback; writes its own port.
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from typing import cast

from tests.support.places import ROOT
from tests.support.process import SERVER_CORE, pin


class _Side(asyncio.Protocol):
    """One of the two connections; what comes to it goes out at the other."""

    def __init__(self, other: "_Side | None" = None) -> None:
        self.transport: asyncio.Transport | None = None
        self.other = other
        self.waiting = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        if self.other is not None:
            self.other.other = self
            self.transport.write(self.other.waiting)

    def data_received(self, data: bytes) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)
        else:
            self.waiting += data

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


async def _serve(upstream: int) -> None:
    loop = asyncio.get_running_loop()
    opening: set[asyncio.Task[object]] = set()

    def accept() -> _Side:
        client = _Side()
        opened = loop.create_connection(lambda: _Side(client), "127.0.0.1", upstream)
        task: asyncio.Task[object] = loop.create_task(opened)
        opening.add(task)
        task.add_done_callback(opening.discard)
        return client

    server = await loop.create_server(accept, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextlib.asynccontextmanager
async def relaying(upstream: int) -> AsyncIterator[int]:
    """Run one before a port; its own port."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.serving.bytes_relay", str(upstream)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        yield int(await process.stdout.readline())
    finally:
        process.kill()
        await process.wait()


if __name__ == "__main__":
    pin(SERVER_CORE)
    from pointsman.serve.processes.server import loop_factory

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_serve(int(sys.argv[1])))
