"""What a run was told, beside its parts: a restart that would mix two runs is refused."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pointsman.artifact.strict_json import parse_strict
from pointsman.datasets.sources import Source
from pointsman.deploy.batch.options import BatchOptions
from pointsman.deploy.batch.store import Store
from pointsman.deploy.batch.worker import RouterSpec
from pointsman.errors import InputError, OutputExistsError

RUN_FILE = "_run.json"


@dataclass(frozen=True, slots=True)
class BatchRun:
    """What a run is told.

    Attributes:
        sources: the inputs, in the order of their rows.
        output: a directory of parts, or one file by its suffix.
    """

    sources: Sequence[Source]
    output: str
    spec: RouterSpec
    options: BatchOptions

    @property
    def record(self) -> dict[str, Any]:
        """Everything that decides what the output is. The engine and its workers do not."""
        return {
            "version": 1,
            "inputs": [source.to_dict() for source in self.sources],
            "router": self.spec.pinned,
            "options": self.options.pinned,
        }


def begin(store: Store, record: dict[str, Any]) -> set[str]:
    """Start or resume; returns the names that are there.

    Raises:
        OutputExistsError: the output holds something that is no batch run.
        InputError: it holds another run.
    """
    names = store.names()
    if RUN_FILE not in names:
        if names:
            raise OutputExistsError(
                f"{store.address} is there, is not empty and holds no {RUN_FILE}. Give a new output."
            )
        store.write(RUN_FILE, (json.dumps(record, indent=1) + "\n").encode())
        return set()
    try:
        found = parse_strict(store.read(RUN_FILE))
        different = sorted(_flat(found).items() ^ _flat(record).items())
    except (ValueError, AttributeError):
        raise InputError(f"{store.address}/{RUN_FILE} cannot be read. Give a new output.") from None
    if different:
        was, now = _flat(found), _flat(record)
        key = different[0][0]
        raise InputError(
            f"{store.address} holds a run that was told otherwise: {key} was {was.get(key)}, is now "
            f"{now.get(key)}. Repeat that run as it was, or give a new output."
        )
    return names


def _flat(value: Any, path: str = "") -> dict[str, str]:
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = {str(index): item for index, item in enumerate(value)}.items()
    else:
        return {path: json.dumps(value)}
    flat = {}
    for key, item in items:
        flat.update(_flat(item, f"{path}.{key}" if path else str(key)))
    return flat
