"""The Ray engine: a pool of actors that answer texts. An actor that dies is replaced, its chunk sent again.

The driver reads and writes, as it does locally, so a chunk that was answered twice is written once. The
artifact travels through Ray's object store: no node needs a copy or a shared disk.
"""

import logging
import os
import socket
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pointsman.artifact.layout import MANIFEST, TOKENIZER
from pointsman.artifact.store import Artifact
from pointsman.deploy.batch.pipeline import in_order
from pointsman.deploy.batch.worker import Answers, RouterSpec, answer_texts
from pointsman.errors import InputError, MissingExtraError, PointsmanError

_AHEAD = 1
_ATTEMPTS = 4
"""Times that one chunk is tried: what kills an actor each time is the chunk."""

# Ray speaks gRPC, so HTTP/2: both sides begin with a settings frame (RFC 9113, 3.4 and 6.5).
_FRAME_HEADER = 9
_SETTINGS = b"\x04"
_HTTP2_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0" + _SETTINGS + b"\0\0\0\0\0"

_T = TypeVar("_T")


class _Actor:
    """A router in a Ray worker."""

    def __init__(self, spec: RouterSpec, files: dict[str, bytes], threads: int) -> None:
        with tempfile.TemporaryDirectory() as directory:
            for name, data in files.items():
                path = Path(directory) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            self._router = spec.at(Path(directory)).open(threads)

    def answer(self, texts: list[str]) -> Answers:
        return answer_texts(self._router, texts)

    def process(self) -> int:
        return os.getpid()


def connect(address: str | None, workers: int, timeout: float) -> Any:
    """The `ray` module, connected: to a cluster, or to one made for this run.

    Args:
        address: `HOST:PORT`, `ray://HOST:PORT` or `auto`; None starts Ray on this machine.
        workers: processors that a Ray on this machine is given.
        timeout: seconds for the address to answer.

    Raises:
        MissingExtraError: Ray is not installed.
        InputError: the address does not answer.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no telemetry
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if address is not None and address != "auto":
        _answers(address, timeout)
    try:
        import ray
    except ModuleNotFoundError:
        raise MissingExtraError("needs ray. Install it with: pip install 'pointsman[batch,ray]'") from None
    try:
        if address is None:
            ray.init(
                num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
            )
        else:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # noqa: BLE001 - Ray raises bare exceptions, for example when a start takes too long
        raise InputError(f"no Ray at {address or 'this machine'}: {error}") from None
    return ray


def _answers(address: str, timeout: float) -> None:
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal():
        raise InputError(f"--ray-address: expected HOST:PORT, ray://HOST:PORT or auto, found {address!r}.")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout) as connection:
            if os.environ.get("RAY_USE_TLS", "0") == "0":
                # Ray itself waits for minutes on a port that takes a connection and says nothing.
                connection.sendall(_HTTP2_HELLO)
                hello = connection.recv(_FRAME_HEADER, socket.MSG_WAITALL)
                if hello[3:4] != _SETTINGS:
                    raise InputError(f"--ray-address: what answers at {address} is no Ray.")
    except (OSError, OverflowError) as error:
        raise InputError(
            f"--ray-address: {address} did not answer within {timeout:g} s ({error}). Is the cluster up?"
        ) from None


def route_ray(
    ray: Any, jobs: Iterable[tuple[_T, list[str]]], spec: RouterSpec, workers: int, threads: int
) -> Iterator[tuple[_T, Answers]]:
    """Answer every job, in order, with at most a few in memory.

    Raises:
        PointsmanError: a chunk whose actor died each time.
    """
    pool = _Pool(ray, spec, workers, threads)
    try:
        yield from in_order(jobs, pool.send, pool.receive, workers * (1 + _AHEAD))
    finally:
        pool.close()


@dataclass(frozen=True, slots=True)
class _Sent:
    """A chunk that an actor has."""

    texts: list[str]
    reference: Any
    slot: int
    actor: Any


class _Pool:
    """Actors by slot; a slot's actor may change."""

    def __init__(self, ray: Any, spec: RouterSpec, workers: int, threads: int) -> None:
        self._ray = ray
        self._kind = ray.remote(num_cpus=threads)(_Actor)
        self._arguments = (spec, ray.put(_files(spec)), threads)
        self._actors = [self._start() for _ in range(workers)]
        self._load = [0] * workers

    def _start(self) -> Any:
        return self._kind.remote(*self._arguments)

    def send(self, texts: list[str]) -> _Sent:
        """To the actor with the least to do."""
        slot = self._load.index(min(self._load))
        self._load[slot] += 1
        actor = self._actors[slot]
        return _Sent(texts, actor.answer.remote(texts), slot, actor)

    def receive(self, sent: _Sent) -> Answers:
        """The answers, from another actor where the first died."""
        for attempt in range(_ATTEMPTS):
            try:
                answers: Answers = self._ray.get(sent.reference)
            except self._ray.exceptions.RayActorError:
                self._load[sent.slot] -= 1
                if self._actors[sent.slot] is sent.actor:
                    self._actors[sent.slot] = self._start()
                if attempt + 1 < _ATTEMPTS:
                    sent = self.send(sent.texts)
                continue
            except self._ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, PointsmanError):
                    raise error.cause from None
                raise
            self._load[sent.slot] -= 1
            return answers
        raise PointsmanError(
            f"a chunk's actor died {_ATTEMPTS} times (out of memory?). The finished parts stay: run the same "
            "command again, on a machine with more memory or with fewer --workers."
        )

    def close(self) -> None:
        for actor in self._actors:
            self._ray.kill(actor)


def _files(spec: RouterSpec) -> dict[str, bytes]:
    """What a router reads of an artifact."""
    artifact = Artifact.open(spec.path)
    names = (TOKENIZER, artifact.manifest.variants[spec.variant])
    return {
        MANIFEST: (artifact.path / MANIFEST).read_bytes(),
        **{name: artifact.read(name) for name in names},
    }
