"""Which variant a router runs by default: the fastest on this machine, at the lengths of the user's texts."""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import onnx

from pointsman.convert.options import ExportOptions
from pointsman.runtime.batching import MAX_BATCH_TOKENS
from pointsman.runtime.scheduler import Scheduler
from pointsman.runtime.session import Session, SessionConfig

ORDER = ("int8", "folded", "plain")
NOISE = 1.05
"""A variant counts as slower where its time is more than this times the other's."""
_ROUNDS = 7
_ROUND_S = 0.03

Times = Mapping[str, Mapping[str, float]]
"""Milliseconds by shape and variant."""


def choose_default(
    models: Mapping[str, onnx.ModelProto], options: ExportOptions, lengths: Sequence[int]
) -> tuple[str, dict[str, Any] | None]:
    """The default variant, and the measurement that chose it (None where none was asked for).

    Variants run in turn, round by round, on as many threads side by side as the router will use; the median
    round counts.

    Args:
        models: the variants that passed their gates.
        options: whether to measure, threads, and the shape that the plain file is fixed to.
        lengths: tokens of the user's texts, or of the project's own.
    """
    candidates = [name for name in ORDER if name in models] or list(models)
    if not options.measure or len(candidates) == 1:
        return candidates[0], None
    sessions = {n: Session(models[n].SerializeToString(), SessionConfig(threads=1)) for n in candidates}
    times = {
        f"{batch}x{length}": _milliseconds(sessions, (batch, length), options.threads)
        for batch, length in _shapes(options, lengths)
    }
    best, refused = choose(times)
    return best, {"default": best, "threads": options.threads, "median_ms": times, "refused": refused}


def choose(times: Times) -> tuple[str, dict[str, str]]:
    """The variant with the least time over all shapes, and why others may not be the default.

    One that is slower than the plain file in any shape may not, nor int8 where a float32 variant is faster.
    """
    refused: dict[str, str] = {}
    for shape, found in times.items():
        for name, taken in found.items():
            rivals = {other: found[other] for other in found if other == "plain" or name == "int8"}
            rival = min(rivals, key=rivals.__getitem__, default=name)
            if taken > NOISE * found[rival]:
                refused.setdefault(
                    name, f"{shape} takes {taken:.2f} ms, {rival} {found[rival]:.2f} ms on this machine"
                )
    allowed = [name for name in next(iter(times.values())) if name not in refused]
    return min(allowed, key=lambda name: np.prod([found[name] for found in times.values()])), refused


def _shapes(options: ExportOptions, lengths: Sequence[int]) -> list[tuple[int, int]]:
    """A usual text, a long one, and a batch of usual ones as the router makes them."""
    if options.shape.batch is not None and options.shape.sequence is not None:
        return [(options.shape.batch, options.shape.sequence)]
    usual, long = (int(n) for n in np.percentile(lengths, (50, 95), method="nearest"))
    return list(dict.fromkeys([(1, usual), (1, long), (max(1, MAX_BATCH_TOKENS // usual), usual)]))


def _milliseconds(sessions: Mapping[str, Session], shape: tuple[int, int], threads: int) -> dict[str, float]:
    """The median round's time of a call by variant, `threads` calls side by side."""
    ids = np.full(shape, 7, np.int64)
    feeds = [(ids, np.ones_like(ids))] * threads
    scheduler = Scheduler(threads)
    rounds: dict[str, list[float]] = {name: [] for name in sessions}
    for session in sessions.values():
        session.run(*feeds[0])
    for _ in range(_ROUNDS):
        for name, session in sessions.items():
            calls, began = 0, time.perf_counter()
            while time.perf_counter() - began < _ROUND_S:
                scheduler.map(partial(_run, session), feeds)
                calls += 1
            rounds[name].append(1000 * (time.perf_counter() - began) / calls)
    return {name: float(np.median(values)) for name, values in rounds.items()}


def _run(session: Session, feed: tuple[Any, Any]) -> object:
    return session.run(*feed)
