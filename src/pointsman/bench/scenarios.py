"""Which scenarios to measure, and how thoroughly: read from data, made concrete for one machine."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np

from pointsman.bench.results import Kind, Scenario
from pointsman.bench.runner import Effort
from pointsman.errors import DataError

MIX_SEED = 7
ALL = "all"


@dataclass(frozen=True, slots=True)
class Preset:
    """A set of scenarios.

    Attributes:
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
            DataError: no queries.
        """
        if not lengths:
            raise DataError("scenarios: expected at least one query, found none.")
        made = []
        for item in self.scenarios:
            kind = Kind(item["kind"])
            count = threads or (available if item["threads"] == ALL else item["threads"])
            batch = len(lengths) if kind is Kind.BULK else item.get("batch", 1)
            length = (item["length"],) if "length" in item else ()
            made.append(
                Scenario(kind, count, batch, _draw(lengths, item["mix"]) if "mix" in item else length)
            )
        fitting = [one for one in made if max(one.lengths, default=0) <= max_tokens]
        return tuple({scenario.name: scenario for scenario in fitting}.values())


def read_preset(name: str) -> Preset:
    """The preset `quick` or `full`."""
    preset = json.loads((files("pointsman.bench") / "scenarios.json").read_bytes())[name]
    return Preset(Effort(**preset["effort"]), tuple(preset["leave_out"]), tuple(preset["scenarios"]))


def _draw(lengths: Sequence[int], count: int) -> tuple[int, ...]:
    """As many lengths, evenly over the sorted ones, so that the mix is like the whole; in a mixed order."""
    at = np.linspace(0, len(lengths) - 1, max(2, count)).round().astype(int)
    drawn = np.sort(np.asarray(lengths))[at]
    return tuple(int(length) for length in np.random.default_rng(MIX_SEED).permutation(drawn))
