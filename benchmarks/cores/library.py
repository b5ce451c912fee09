"""The library on one thread and on two: many texts, one text, memory, and the parts that a model needs."""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import cycle, islice
from typing import Any

from benchmarks.batch.texts import own_queries

from pointsman.runtime.batching import pad, plan_batches
from pointsman.runtime.router import Router
from pointsman.runtime.session import SessionConfig

TEXTS = 2000
SINGLE = 300
SEED = 7
CALLERS = (1, 2, 4, 8, 16)


def queries(count: int) -> list[str]:
    """Queries of real lengths: the project's own in a seeded order, again and again."""
    return list(islice(cycle(own_queries(SEED)), count))


def many(args: argparse.Namespace) -> dict[str, Any]:
    """`route_many`, one thread and two in turns."""
    one, two = (_router(args, threads) for threads in (1, 2))
    texts = queries(TEXTS)
    rounds = _in_turns(args.rounds, lambda: one.route_many(texts), lambda: two.route_many(texts))
    return {"texts": len(texts), "tokens": _tokens(one, texts), "rounds": rounds}


def many_beside_busy(args: argparse.Namespace) -> dict[str, Any]:
    """The same while one process keeps a core busy."""
    with _busy_core():
        return many(args)


def one_by_one(args: argparse.Namespace) -> dict[str, Any]:
    """`route`, one thread and the default settings in turns."""
    one, default = _router(args, 1), _router(args, None)
    texts = queries(SINGLE)
    rounds = _in_turns(
        args.rounds,
        lambda: [one.route(text) for text in texts],
        lambda: [default.route(text) for text in texts],
    )
    return {"texts": len(texts), "threads": default.session.threads, "rounds": rounds}


def callers(args: argparse.Namespace) -> dict[str, Any]:
    """Memory of a process in which N threads have run the model side by side."""
    return {"texts": SINGLE, "held_bytes": {n: [_held_by(args, n) for _ in range(3)] for n in CALLERS}}


def stages(args: argparse.Namespace) -> dict[str, Any]:
    """Seconds of each part of `route_many` on one thread: what runs side by side, and what does not."""
    router = _router(args, 1)
    texts = queries(TEXTS)
    rounds = []
    for _ in range(args.rounds):
        whole = _timed(lambda: router.route_many(texts))
        started = time.perf_counter()
        encodings = router.encode(texts)
        encoded = time.perf_counter() - started
        batches = list(plan_batches([len(encoding.ids) for encoding in encodings]))[::-1]
        feeds = [pad([encodings[index].ids for index in batch], pad_id=0) for batch in batches]
        runs = [_timed(partial(router.session.run, *feed)) for feed in feeds]
        rounds.append({"whole": whole, "encode": encoded, "runs": runs})
    return {"texts": len(texts), "rounds": rounds}


def _router(args: argparse.Namespace, threads: int | None) -> Router:
    router = Router.open(args.artifact, session=SessionConfig(threads=threads))
    router.route_many(queries(200))
    return router


def _in_turns(rounds: int, first: Callable[[], Any], second: Callable[[], Any]) -> list[list[float]]:
    """Seconds of both in every round; each is first in every other one."""
    taken = []
    for turn in range(rounds):
        if turn % 2:
            late = _timed(second)
            taken.append([_timed(first), late])
        else:
            taken.append([_timed(first), _timed(second)])
    return taken


def _timed(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _tokens(router: Router, texts: list[str]) -> int:
    return sum(len(encoding.ids) for encoding in router.encode(texts))


@contextmanager
def _busy_core() -> Iterator[None]:
    """A process that computes without a pause, as a local language model's would."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _held_by(args: argparse.Namespace, callers: int) -> int:
    command = [sys.executable, "-m", "benchmarks.cores.callers", str(callers)]
    command += [str(args.artifact)] if args.artifact else []
    return int(json.loads(subprocess.run(command, capture_output=True, check=True).stdout))
