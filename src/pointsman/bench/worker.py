"""The measuring side of a benchmark: a worker process that holds one backend and answers jobs.

A worker reads one JSON object a line and answers each with one. The first line says what to open; every
further line is a job. Whatever libraries print goes to standard error. One process holds one backend,
because two pools of spinning threads on the same cores slow each other several times over.
"""

import json
import os
import sys
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO

import numpy as np
from numpy.typing import NDArray

from pointsman.bench.environment import peak_rss_bytes
from pointsman.errors import InputError

Feed = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Token ids and mask of one batch."""

SEED = 20260101
WARM_SHARE = 0.25
FIRST_TOKEN = 1
"""Token 0 is padding, which a batch of equal lengths does not hold."""


class Subject(Protocol):
    """An opened backend; it inherits what it does not do in a way of its own."""

    @abstractmethod
    def run(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> object:
        """One batch through the model: int64 (batch, length), twice."""

    def many(self, feeds: Sequence[Feed]) -> object:
        """Several batches, side by side where the backend can, or else one after the other."""
        return [self.run(*feed) for feed in feeds]

    def bulk(self, texts: list[str]) -> object:
        """Texts to decisions."""
        raise InputError("bulk: this backend is measured on batches of tokens only.")


Opener = Callable[[Mapping[str, Any]], Subject]


@dataclass(frozen=True, slots=True)
class LatencyJob:
    """Batches of random tokens, timed one by one.

    Attributes:
        batch: rows of a call, at least 1.
        lengths: tokens of a row; calls take them in turn, whole turns only.
        vocab_size: token ids stay under this.
        warmups: calls before it counts, at least; also one turn, and a quarter of `min_time_s`.
        min_calls: calls that count, at least this many and at least 1.
        max_calls: no further turn is begun after this many.
        min_time_s: calls go on for at least this long, in seconds.
        side_by_side: batches of a call; 1 runs one batch at a time. A timing is a batch's share.
    """

    batch: int
    lengths: tuple[int, ...]
    vocab_size: int
    warmups: int
    min_calls: int
    max_calls: int
    min_time_s: float
    side_by_side: int = 1


@dataclass(frozen=True, slots=True)
class Timings:
    """Warm-ups and calls that count, in nanoseconds."""

    warmups_ns: list[int]
    calls_ns: list[int]


def measure_latency(subject: Subject, job: LatencyJob) -> Timings:
    """Time calls of a subject; the same job gives every backend the same tokens."""
    random = np.random.default_rng(SEED)
    feeds = []
    for length in job.lengths:
        ids = random.integers(FIRST_TOKEN, job.vocab_size, (job.batch, length), dtype=np.int64)
        feeds.append((ids, np.ones_like(ids)))

    def turn() -> list[int]:
        if job.side_by_side > 1:
            batches = feeds * job.side_by_side
            return [max(1, _timed(lambda: subject.many(batches)) // len(batches))]
        return [_timed(lambda feed=feed: subject.run(*feed)) for feed in feeds]  # type: ignore[misc]

    warmups = turn()
    while len(warmups) < job.max_calls and (
        len(warmups) < job.warmups or sum(warmups) < WARM_SHARE * job.min_time_s * 1e9
    ):
        warmups += turn()
    calls: list[int] = []
    begin = time.perf_counter_ns()
    while len(calls) < job.max_calls:
        enough = time.perf_counter_ns() - begin >= job.min_time_s * 1e9
        if enough and len(calls) >= max(1, job.min_calls):
            break
        calls += turn()
    return Timings(warmups, calls)


def measure_bulk(subject: Subject, texts: list[str], warmups: int) -> Timings:
    """Time one pass over texts, after a warm-up over the first `warmups` of them."""
    warm = [_timed(lambda: subject.bulk(texts[:warmups]))] if warmups else []
    return Timings(warm, [_timed(lambda: subject.bulk(texts))])


def read_texts(path: Path) -> list[str]:
    """The `query` of every line of a JSONL file."""
    with path.open(encoding="utf-8") as stream:
        return [json.loads(line)["query"] for line in stream if line.strip()]


def serve(opener: Opener) -> None:
    """Answer lines of standard input until it ends; the loop of every worker process."""
    answers = _private_stdout()
    subject = opener(json.loads(sys.stdin.readline()))
    _answer(answers, {"ready": True})
    for line in sys.stdin:
        job = json.loads(line)
        if job.pop("kind") == "bulk":
            timings = measure_bulk(subject, read_texts(Path(job["queries"])), job["warmups"])
        else:
            timings = measure_latency(subject, LatencyJob(**{**job, "lengths": tuple(job["lengths"])}))
        reply = {"warmups_ns": timings.warmups_ns, "calls_ns": timings.calls_ns}
        _answer(answers, {**reply, "peak_rss_bytes": peak_rss_bytes()})


def _timed(call: Callable[[], object]) -> int:
    begin = time.perf_counter_ns()
    call()
    return max(1, time.perf_counter_ns() - begin)


def _answer(stream: TextIO, answer: Mapping[str, Any]) -> None:
    stream.write(json.dumps(answer) + "\n")
    stream.flush()


def _private_stdout() -> TextIO:
    """The standard output for answers alone: all other output goes to standard error."""
    private = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return private
