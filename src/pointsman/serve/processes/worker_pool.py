"""The processes that answer from one port, and the settings that the next of them starts with."""

import contextlib
import logging
import secrets
from asyncio.subprocess import Process
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from pointsman.serve.logs import log
from pointsman.serve.settings import GatewaySettings, InferenceSettings


@dataclass(frozen=True, slots=True)
class Worker:
    """A process that answers.

    Attributes:
        slot: which of the workers it is, from 0; its successor has the same.
        admin_port: of its own admin routes, on loopback.
    """

    slot: int
    process: Process
    admin_port: int


class WorkerPool:
    """Who answers now.

    Attributes:
        workers: by slot.
        settings: what the next worker starts with.
        key: what their own admin routes take from this family of processes, beside the operator's keys.
        is_open: the operator set no admin key, so the admin address asks for no key.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        self.workers: dict[int, Worker] = {}
        self.key = secrets.token_hex(32)
        auth = settings.auth
        self.is_open = not auth.admin_keys and auth.admin_keys_file is None
        keys = (*auth.admin_keys, SecretStr(self.key))
        self.settings = settings.model_copy(update={"auth": auth.model_copy(update={"admin_keys": keys})})

    def in_order(self) -> list[Worker]:
        """The workers that answer now, by slot."""
        return [self.workers[slot] for slot in sorted(self.workers)]

    def keep(self, **inference: Any) -> None:
        """Remember what the admin routes changed: a worker that starts later starts with it."""
        tree = {**self.settings.inference.model_dump(), **inference}
        changed = InferenceSettings.model_validate(tree)
        self.settings = self.settings.model_copy(update={"inference": changed})

    def keep_threshold(self, threshold: float) -> None:
        """Likewise, of the threshold; see `Engine.serve_threshold`."""
        changed = {"cloud_threshold": threshold, "confidence_threshold": None}
        routing = self.settings.routing.model_copy(update=changed)
        self.settings = self.settings.model_copy(update={"routing": routing})

    def replace(self, worker: Worker) -> None:
        """End a worker without dropping a request; another takes its place."""
        log("worker replaced", level=logging.WARNING, worker=worker.slot)
        with contextlib.suppress(ProcessLookupError):
            worker.process.terminate()
