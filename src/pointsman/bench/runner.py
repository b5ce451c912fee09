"""Measuring: every backend alone in its process, rounds A B C A B C ..., raw timings out.

It knows processes and order, and nothing of models, figures and Markdown. A round itself goes round in
short slices, so backends follow each other within a fraction of a second and a ratio within a round sees
the same noise on both of its sides.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pointsman.bench.results import Kind, Run, Scenario
from pointsman.bench.worker_process import WorkerError, WorkerProcess, run_whole_process
from pointsman.errors import DataError
from pointsman.progress import Progress

BULK_WARMUPS = 64
SLICES = 3
"""Turns of a round of latencies: every backend gives a third of its calls, then the next third."""
SIDE_BY_SIDE = 4
"""Batches a thread of a call that measures a rate."""
SETTLE_S = 0.02
"""Thread pools of the backend before stop spinning within this many seconds."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much to measure.

    Attributes:
        processes: how often every backend is started afresh, at least 1.
        rounds: rounds per start, at least 1.
        whole_rounds: rounds of scenarios that are whole processes or many texts, at least 1.
        whole_warmups: rounds of whole processes before it counts.
        warmups: calls before it counts, in every round.
        min_time_s: calls that count take at least this many seconds together.
        timeout_s: one answer may take this many seconds.
    """

    processes: int
    rounds: int
    whole_rounds: int
    whole_warmups: int
    warmups: int
    min_calls: int
    max_calls: int
    min_time_s: float
    timeout_s: float

    def __post_init__(self) -> None:
        counts = (self.processes, self.rounds, self.whole_rounds, self.min_calls, self.max_calls)
        if (
            min(counts) < 1
            or min(self.warmups, self.whole_warmups, self.min_time_s) < 0
            or self.timeout_s <= 0
        ):
            raise DataError(f"effort: expected counts of at least 1 and times above 0, found {self}.")


@dataclass(frozen=True, slots=True)
class Worker:
    """A backend in a worker process, for latency and for many texts.

    Attributes:
        settings: what the worker opens, as plain values.
        kinds: which kinds of scenarios it can take.
        scenarios: the names of those it takes; empty for all of its kinds.
    """

    backend: str
    module: str
    settings: Mapping[str, Any]
    kinds: frozenset[Kind] = frozenset({Kind.LATENCY, Kind.RATE})
    scenarios: frozenset[str] = frozenset()

    def takes(self, scenario: Scenario) -> bool:
        """Whether it can be measured in a scenario."""
        return scenario.kind in self.kinds and (not self.scenarios or scenario.name in self.scenarios)


@dataclass(frozen=True, slots=True)
class Program:
    """A backend that is a whole process: code, its arguments, and the kind it is measured in.

    The code's last line of output is a JSON object with `peak_rss_bytes`.
    """

    backend: str
    kind: Kind
    code: str
    arguments: tuple[str, ...]


@dataclass(slots=True)
class Measured:
    """What has been measured so far, and which backends failed, with the reason."""

    runs: list[Run] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the backends are fed: token ids under `vocab_size`, and the queries of a JSONL file."""

    vocab_size: int
    queries: Path


@dataclass(frozen=True, slots=True)
class _Job:
    """A scenario's rounds, the slices of each, and what a worker is asked for one slice."""

    rounds: int
    slices: int
    slice: dict[str, Any]


def measure_workers(
    workers: Sequence[Worker],
    scenarios: Iterable[Scenario],
    inputs: Inputs,
    effort: Effort,
    progress: Progress,
) -> Measured:
    """Measure worker backends in scenarios, grouped by threads: a process has one number of threads."""
    measured = Measured()
    scenarios = [scenario for scenario in scenarios if scenario.kind in (Kind.LATENCY, Kind.RATE, Kind.BULK)]
    for threads in dict.fromkeys(scenario.threads for scenario in scenarios):
        group = [scenario for scenario in scenarios if scenario.threads == threads]
        for process in range(effort.processes):
            progress(f"{threads} thread(s), start {process + 1} of {effort.processes}")
            with ExitStack() as stack:
                takers = [worker for worker in workers if any(map(worker.takes, group))]
                opened = _open(stack, takers, threads, effort.timeout_s, measured)
                for scenario in group:
                    progress(f"  {scenario.name}")
                    _measure_scenario(opened, scenario, process, _job(scenario, inputs, effort), measured)
    return measured


def measure_programs(
    programs: Sequence[Program], scenarios: Iterable[Scenario], effort: Effort, progress: Progress
) -> Measured:
    """Measure whole processes, in alternating rounds."""
    measured = Measured()
    for scenario in scenarios:
        group = [program for program in programs if program.kind is scenario.kind]
        warmups: dict[str, list[int]] = {program.backend: [] for program in group}
        for number in range(-effort.whole_warmups, effort.whole_rounds) if group else ():
            progress(f"  {scenario.name}, round {number + 1} of {effort.whole_rounds}")
            for program in group:
                if program.backend in measured.failures:
                    continue
                try:
                    done = run_whole_process(
                        program.code, program.arguments, scenario.threads, effort.timeout_s
                    )
                except WorkerError as error:
                    measured.failures[program.backend] = str(error)
                    continue
                if number < 0:
                    warmups[program.backend].append(done.wall_ns)
                    continue
                early = tuple(warmups[program.backend]) if number == 0 else ()
                peak = int(done.answer.get("peak_rss_bytes", 0))
                measured.runs.append(
                    Run(program.backend, scenario.name, number, early, (done.wall_ns,), peak)
                )
    return measured


def _open(
    stack: ExitStack, workers: Sequence[Worker], threads: int, timeout_s: float, measured: Measured
) -> list[tuple[Worker, WorkerProcess]]:
    opened = []
    for worker in workers:
        if worker.backend in measured.failures:
            continue
        try:
            process = WorkerProcess(worker.module, worker.settings, threads, timeout_s)
        except WorkerError as error:
            measured.failures[worker.backend] = str(error)
            continue
        opened.append((worker, stack.enter_context(process)))
    return opened


def _measure_scenario(
    opened: Sequence[tuple[Worker, WorkerProcess]],
    scenario: Scenario,
    process: int,
    job: _Job,
    measured: Measured,
) -> None:
    """All rounds of one scenario; every round begins with the next backend, so none is always first."""
    takers = [pair for pair in opened if pair[0].takes(scenario)]
    for number in range(job.rounds):
        shift = number % max(1, len(takers))
        in_turn = takers[shift:] + takers[:shift]
        answers: dict[str, list[dict[str, Any]]] = {worker.backend: [] for worker, _ in in_turn}
        for worker, running in in_turn * job.slices:
            if worker.backend in measured.failures:
                continue
            time.sleep(SETTLE_S)
            try:
                answers[worker.backend].append(running.ask(job.slice))
            except WorkerError as error:
                measured.failures[worker.backend] = f"{scenario.name}: {error}"
        measured.runs += [
            _run(backend, scenario, process * job.rounds + number, parts)
            for backend, parts in answers.items()
            if backend not in measured.failures
        ]


def _run(backend: str, scenario: Scenario, number: int, parts: Sequence[Mapping[str, Any]]) -> Run:
    """The slices of one round as one run."""
    return Run(
        backend=backend,
        scenario=scenario.name,
        round=number,
        warmups_ns=tuple(ns for part in parts for ns in part["warmups_ns"]),
        calls_ns=tuple(ns for part in parts for ns in part["calls_ns"]),
        peak_rss_bytes=max(int(part["peak_rss_bytes"]) for part in parts),
    )


def _job(scenario: Scenario, inputs: Inputs, effort: Effort) -> _Job:
    if scenario.kind is Kind.BULK:
        bulk = {"kind": "bulk", "queries": str(inputs.queries), "warmups": BULK_WARMUPS}
        return _Job(effort.whole_rounds, 1, bulk)
    is_rate = scenario.kind is Kind.RATE
    latency = {
        "kind": "latency",
        "batch": scenario.batch,
        "lengths": list(scenario.lengths),
        "vocab_size": inputs.vocab_size,
        "warmups": 1 if is_rate else effort.warmups,
        "min_calls": 1 if is_rate else -(-effort.min_calls // SLICES),
        "max_calls": -(-effort.max_calls // SLICES),
        "min_time_s": effort.min_time_s / SLICES,
        "side_by_side": SIDE_BY_SIDE * scenario.threads if is_rate else 1,
    }
    return _Job(effort.rounds, SLICES, latency)
