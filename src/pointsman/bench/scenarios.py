"""Which scenarios to measure, and how thoroughly: read from data, made concrete for one machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from pointsman.artifact.strict_json import parse_strict
from pointsman.bench.results import Kind, Scenario
from pointsman.bench.runner import Effort
from pointsman.errors import DataError

SCHEMA = 1
MIX_SEED = 7
ALL = "all"


@dataclass(frozen=True, slots=True)
class Preset:
    """A set of scenarios.

    Attributes:
        effort: how thoroughly each is measured.
        leave_out: backends that are not worth their time here.
        scenarios: the scenarios as written: threads may be `all`, a `mix` says how many lengths to draw.
    """

    effort: Effort
    leave_out: tuple[str, ...]
    scenarios: tuple[Mapping[str, Any], ...]

    def concrete(
        self, *, available: int, threads: int | None, lengths: Sequence[int], max_tokens: int
    ) -> tuple[Scenario, ...]:
        """The scenarios for one machine, one model and one set of queries, each once.

        Args:
            available: what `all` threads means, at least 1.
            threads: threads of every scenario; None leaves what is written.
            lengths: tokens of each query, which a mix is drawn from; their number is what bulk routes.
            max_tokens: longer rows are left out, at least 2.

        Raises:
            DataError: a scenario that is not understood, or no queries.
        """
        if not lengths:
            raise DataError("scenarios: expected at least one query, found none.")
        made = [self._scenario(item, available, threads, lengths) for item in self.scenarios]
        fitting = [one for one in made if max(one.lengths, default=0) <= max_tokens]
        return tuple({scenario.name: scenario for scenario in fitting}.values())

    @staticmethod
    def _scenario(
        item: Mapping[str, Any], available: int, threads: int | None, lengths: Sequence[int]
    ) -> Scenario:
        try:
            kind = Kind(item["kind"])
            written = available if item["threads"] == ALL else int(item["threads"])
            count = threads or written
            if kind is Kind.BULK:
                return Scenario(kind, count, batch=len(lengths))
            if kind not in (Kind.LATENCY, Kind.RATE):
                return Scenario(kind, count)
            drawn = _draw(lengths, int(item["mix"])) if "mix" in item else (int(item["length"]),)
            return Scenario(kind, count, int(item["batch"]), drawn)
        except (KeyError, ValueError, TypeError) as error:
            raise DataError(f"scenario {dict(item)}: not understood: {error}.") from None


def read_preset(name: str, path: Path | None = None) -> Preset:
    """Read a preset.

    Args:
        name: for example `quick` or `full`.
        path: a JSON file; None reads the ones that come with the package.

    Raises:
        DataError: not readable, of another schema version, or without that preset.
    """
    data = read_json(path, "scenarios.json")
    try:
        preset = data[name]
        return Preset(
            Effort(**preset["effort"]),
            tuple(preset["leave_out"]),
            tuple(dict(s) for s in preset["scenarios"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"scenarios: preset {name!r} is not understood: {error}.") from None


def read_json(path: Path | None, shipped: str) -> dict[str, Any]:
    """A JSON object of schema 1, from `path` or else from the file of that name in this package.

    Raises:
        DataError: not readable, not an object, or of another schema version.
    """
    where = path or shipped
    try:
        raw = path.read_bytes() if path else (files("pointsman.bench") / shipped).read_bytes()
        data = parse_strict(raw)
    except (OSError, ValueError) as error:
        raise DataError(f"{where} cannot be read: {error}.") from None
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise DataError(f"{where}: expected an object with schema {SCHEMA}.")
    return data


def _draw(lengths: Sequence[int], count: int) -> tuple[int, ...]:
    """As many lengths, evenly over the sorted ones, so that the mix is like the whole; in a mixed order."""
    at = np.linspace(0, len(lengths) - 1, max(2, count)).round().astype(int)
    drawn = np.sort(np.asarray(lengths))[at]
    return tuple(int(length) for length in np.random.default_rng(MIX_SEED).permutation(drawn))
