"""A benchmark as data: what was measured, on what, and every raw timing. It renders nothing.

Warm-ups stand apart from calls. Figures (percentiles, ratios, doubts) are never stored; they are
computed from the timings on demand, so a file cannot contradict itself.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self

from pointsman.artifact.strict_json import parse_strict
from pointsman.bench.environment import Environment
from pointsman.bench.statistics import Ratio, Summary, doubts, ratio, summarize
from pointsman.errors import DataError, InputError

SCHEMA = 1


class Kind(StrEnum):
    """What one call of a scenario is."""

    LATENCY = "latency"
    """One batch of token ids through the model."""
    RATE = "rate"
    """One batch of several that run side by side: its share of the time."""
    BULK = "bulk"
    """Many texts to decisions, with tokenization and batching."""
    COLD_START = "cold_start"
    """A whole process: import, open, first decision, end."""
    CONVERSION = "conversion"
    """A whole process: weights to a file that loads."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is measured.

    Attributes:
        threads: threads of the model, at least 1.
        batch: rows of one call; texts of one call where `kind` is bulk; at least 1.
        lengths: tokens per row, at least 2; calls take them in turn. More than one is a mix. Empty unless
            `kind` is latency or rate, which has one length.
    """

    kind: Kind
    threads: int
    batch: int = 1
    lengths: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.threads < 1 or self.batch < 1:
            raise DataError(f"scenario: expected threads and batch of at least 1, found {self}.")
        has_lengths = self.kind in (Kind.LATENCY, Kind.RATE)
        if bool(self.lengths) != has_lengths or any(length < 2 for length in self.lengths):
            raise DataError(
                f"scenario: lengths of at least 2 belong to latency and rate, and only there, found {self}."
            )

    @property
    def is_mix(self) -> bool:
        """Whether its calls differ in length."""
        return len(self.lengths) > 1

    @property
    def shape(self) -> str:
        """Batch and length in short: `1x16`, `1xmix`, `2000 texts`, or the kind."""
        if self.kind is Kind.LATENCY:
            return f"{self.batch}x{'mix' if self.is_mix else self.lengths[0]}"
        if self.kind is Kind.RATE:
            return f"{self.batch}x{self.lengths[0]} side by side"
        return f"{self.batch} texts" if self.kind is Kind.BULK else self.kind.value.replace("_", " ")

    @property
    def name(self) -> str:
        """What it is called in tables: shape and threads."""
        return f"{self.shape}, {self.threads} thread{'s' if self.threads > 1 else ''}"


@dataclass(frozen=True, slots=True)
class Backend:
    """What is measured against each other.

    Attributes:
        name: one word, for example `folded`.
        file_bytes: size of the model on disk; 0 where it has no file of its own.
        skipped: why it was not measured; empty where it was.
    """

    name: str
    title: str
    file_bytes: int = 0
    skipped: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """One backend in one scenario in one round.

    Attributes:
        round: which round, from 0; the backends of one round were measured one right after the other.
        calls_ns: timings that count, in nanoseconds, at least one, each above 0.
        peak_rss_bytes: the most memory the process held until then; 0 where not known.
    """

    backend: str
    scenario: str
    round: int
    warmups_ns: tuple[int, ...]
    calls_ns: tuple[int, ...]
    peak_rss_bytes: int

    def __post_init__(self) -> None:
        if not self.calls_ns or not all(timing > 0 for timing in self.calls_ns):
            raise DataError(
                f"run: {self.backend} in {self.scenario!r} has no timings, or one of 0 ns or less."
            )


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Everything that was measured in one go.

    Attributes:
        subject: what was measured, in words.
        command: the command that measures it again.
        backends: what was measured against each other, in the order of tables.
    """

    subject: str
    command: str
    created: str
    environment: Environment
    scenarios: tuple[Scenario, ...]
    backends: tuple[Backend, ...]
    runs: tuple[Run, ...]
    facts: Mapping[str, Any]

    def __post_init__(self) -> None:
        scenarios = {scenario.name for scenario in self.scenarios}
        backends = {backend.name for backend in self.backends}
        if len(scenarios) != len(self.scenarios) or len(backends) != len(self.backends):
            raise DataError("benchmark: a scenario or a backend is listed twice.")
        for run in self.runs:
            if run.scenario not in scenarios or run.backend not in backends:
                raise DataError(
                    f"benchmark: a run of {run.backend} in {run.scenario!r}, which are not listed."
                )

    def series(self, backend: str, scenario: Scenario) -> tuple[Run, ...]:
        """The rounds of one backend in one scenario, in order; empty where it was not measured."""
        found = [run for run in self.runs if run.backend == backend and run.scenario == scenario.name]
        return tuple(sorted(found, key=lambda run: run.round))

    def summary(self, backend: str, scenario: Scenario) -> Summary | None:
        """Figures over all calls of all rounds; None where it was not measured."""
        calls = [timing for run in self.series(backend, scenario) for timing in run.calls_ns]
        return summarize(calls) if calls else None

    def throughput(self, backend: str, scenario: Scenario) -> float | None:
        """Rows (or texts) a second over all calls; None where it was not measured."""
        summary = self.summary(backend, scenario)
        return None if summary is None else scenario.batch * 1e9 / summary.mean

    def peak_rss_bytes(self, backend: str, scenario: Scenario | None = None) -> int:
        """The most memory its process held, in bytes; 0 where not known."""
        wanted = None if scenario is None else scenario.name
        runs = [run for run in self.runs if run.backend == backend and wanted in (None, run.scenario)]
        return max((run.peak_rss_bytes for run in runs), default=0)

    def doubts(self, backend: str, scenario: Scenario) -> str:
        """Why not to trust its timings; empty where there is no reason, or nothing was measured."""
        rounds = [run.calls_ns for run in self.series(backend, scenario)]
        return doubts(rounds, same_work=not scenario.is_mix) if rounds else ""

    def time_ratio(
        self, slow: str, fast: str, scenario: Scenario, slow_in: Scenario | None = None
    ) -> Ratio | None:
        """How many times longer `slow` takes than `fast`, once per round; None if not measured.

        A round's time is its median call, or the mean call of a mix, whose calls differ by design. `slow_in`
        is the scenario of `slow` where it is another one.
        """
        pairs = self._rounds(slow, fast, scenario, slow_in)
        if not pairs:
            return None
        slows, fasts = zip(*((_typical(a, scenario), _typical(b, scenario)) for a, b in pairs), strict=True)
        return ratio(slows, fasts)

    def memory_ratio(self, large: str, small: str, scenario: Scenario) -> Ratio | None:
        """How many times more memory `large` held at its peak than `small`; None if not measured."""
        pairs = [
            (a, b) for a, b in self._rounds(large, small, scenario) if a.peak_rss_bytes and b.peak_rss_bytes
        ]
        if not pairs:
            return None
        return ratio([a.peak_rss_bytes for a, _ in pairs], [b.peak_rss_bytes for _, b in pairs])

    def _rounds(
        self, one: str, other: str, scenario: Scenario, one_in: Scenario | None = None
    ) -> list[tuple[Run, Run]]:
        """Runs of the two backends that belong to the same round."""
        others = {run.round: run for run in self.series(other, scenario)}
        runs = self.series(one, one_in or scenario)
        return [(run, others[run.round]) for run in runs if run.round in others]

    def to_json(self) -> str:
        """The benchmark as JSON; `from_json` reads it back."""
        data = {"schema": SCHEMA, **asdict(self), "environment": self.environment.to_dict()}
        return json.dumps(data, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read a benchmark.

        Raises:
            DataError: not JSON, another schema version, or a value that is not understood.
        """
        try:
            data = parse_strict(text)
        except ValueError as error:
            raise DataError(f"benchmark: not readable JSON: {error}.") from None
        if not isinstance(data, dict) or data.pop("schema", None) != SCHEMA:
            raise DataError(f"benchmark: expected schema {SCHEMA}. Measure again with `pointsman bench`.")
        try:
            return cls(
                **{
                    **data,
                    "environment": Environment.from_dict(data["environment"]),
                    "scenarios": tuple(_scenario(item) for item in data["scenarios"]),
                    "backends": tuple(Backend(**item) for item in data["backends"]),
                    "runs": tuple(_run(item) for item in data["runs"]),
                }
            )
        except (DataError, InputError):
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"benchmark: not understood: {error}. Measure again.") from None


def _typical(run: Run, scenario: Scenario) -> float:
    summary = summarize(run.calls_ns)
    return summary.mean if scenario.is_mix else summary.p50


def _scenario(data: Mapping[str, Any]) -> Scenario:
    return Scenario(**{**data, "kind": Kind(data["kind"]), "lengths": tuple(data["lengths"])})


def _run(data: Mapping[str, Any]) -> Run:
    return Run(**{**data, "warmups_ns": tuple(data["warmups_ns"]), "calls_ns": tuple(data["calls_ns"])})
