"""Which variant a router runs by default: the fastest one on this machine that passed its gates."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from pointsman.convert.options import ExportOptions
from pointsman.runtime.session import Session, SessionConfig

_ORDER = ("int8", "folded", "plain")
_LENGTH = 16
_ROUNDS = 7
_CALLS = 10


def choose_default(
    models: Mapping[str, onnx.ModelProto], options: ExportOptions
) -> tuple[str, dict[str, Any] | None]:
    """The default variant, and the measurement that chose it (None where none was asked for).

    Variants run in turn, round by round, one query of 16 tokens on one thread; the median round counts. int8
    must win: where the processor is no faster with it, the exact variant is the default.
    """
    candidates = [name for name in _ORDER if name in models] or list(models)
    if not options.measure or len(candidates) == 1:
        return candidates[0], None
    sessions = {n: Session(models[n].SerializeToString(), SessionConfig(threads=1)) for n in candidates}
    ids = np.full((1, _LENGTH), 7, np.int64)
    mask = np.ones_like(ids)
    rounds: dict[str, list[float]] = {name: [] for name in candidates}
    for session in sessions.values():
        session.run(ids, mask)
    for _ in range(_ROUNDS):
        for name, session in sessions.items():
            began = time.perf_counter_ns()
            for _ in range(_CALLS):
                session.run(ids, mask)
            rounds[name].append((time.perf_counter_ns() - began) / _CALLS / 1e6)
    medians = {name: float(np.median(values)) for name, values in rounds.items()}
    best = min(candidates, key=medians.__getitem__)
    return best, {"default": best, "tokens": _LENGTH, "threads": 1, "median_ms": medians}
