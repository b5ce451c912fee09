"""Another server of the same ONNX file: how to start it, and how to ask it."""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.support import wire
from tests.support.fault_upstream import free_port
from tests.support.places import ROOT
from tests.support.process import Server

from pointsman.artifact.address import shipped_artifact
from pointsman.artifact.store import Artifact

_START_S = 90.0


@dataclass(frozen=True, slots=True)
class Peer:
    """One server: how to start it, and how to ask it.

    Attributes:
        what: what a reader should know about how it is run.
        command: from the artifact, the ONNX file and a port.
    """

    name: str
    what: str
    python: Path
    command: Callable[[Path, Path, int], list[str]]
    ask: Callable[[str], bytes]


EMPTY = Peer(
    "an empty FastAPI route",
    "a JSON body in, a constant out, under uvicorn with uvloop and httptools, without an access log",
    Path(sys.executable),
    lambda artifact, model, port: [
        *("-m", "uvicorn", "benchmarks.serving.servers.fastapi_empty:app", "--no-access-log"),
        *("--port", str(port)),
    ],
    wire.predict,
)
"""What a framework takes by itself."""


async def start(peer: Peer) -> tuple[Server, int]:
    """Start a peer and wait until it answers. Raises RuntimeError with its last words."""
    artifact = shipped_artifact()
    manifest = Artifact.open(artifact).manifest
    model = artifact / manifest.variants[manifest.default_variant]
    port, folder = free_port(), Path(tempfile.mkdtemp(prefix="pointsman-harness-"))
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {"ARTIFACT": str(artifact), "MODEL": str(model)}
    if peer.python == Path(sys.executable):
        environment["PYTHONPATH"] = paths
    server = Server([str(peer.python), *peer.command(artifact, model, port)], folder, environment)
    until = time.monotonic() + _START_S
    while time.monotonic() < until and server.process.poll() is None:
        try:
            if (await wire.ask(port, peer.ask("hello"), 5.0)).status == 200:
                return server, port
        except (OSError, TimeoutError):
            await asyncio.sleep(0.1)
    await server.stop()
    raise RuntimeError(f"{peer.name} did not start: {server.log.read_text(errors='replace')[-300:]}")
