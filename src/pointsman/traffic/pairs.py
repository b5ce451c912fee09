"""Queries with the answers of both models, and what became of judging them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from pointsman.errors import DataError, InputError
from pointsman.traffic.work import CLOUD_ROLE, LOCAL_ROLE, Answer, Query, Work


@dataclass(frozen=True, slots=True)
class Pair:
    """A query with the answers of both models: `local` one or more, `cloud` one."""

    query: Query
    local: list[Answer]
    cloud: Answer


@dataclass(slots=True)
class JudgeReport:
    """What judging saw.

    Attributes:
        judged: rows with scores now.
        unjudged: rows left without, by reason.
        verdicts: rows by verdict: local, cloud, tie.
        flipped: for each pair that was compared twice, whether the verdict turned with the order.
        first_won: for each decided single verdict, whether the answer shown first won; half is fair.
        longer_won: for each decided pair, whether the longer answer won.
        unread: replies without a verdict, after the second try.
        refusals: refused or empty answers by role.
        spent: money that the judge has cost in every run; None where its prices are not known.
    """

    judged: int = 0
    unjudged: dict[str, int] = field(default_factory=dict)
    verdicts: dict[str, int] = field(default_factory=dict)
    flipped: list[bool] = field(default_factory=list)
    first_won: list[bool] = field(default_factory=list)
    longer_won: list[bool] = field(default_factory=list)
    unread: int = 0
    refusals: dict[str, int] = field(default_factory=dict)
    spent: float | None = None

    def missing(self, reason: str) -> None:
        """Count a row that got no scores."""
        self.unjudged[reason] = self.unjudged.get(reason, 0) + 1

    def facts(self) -> dict[str, Any]:
        """Plain values; the three lists become shares 0..1, None where they are empty."""
        facts: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        for name in ("flipped", "first_won", "longer_won"):
            facts[name] = fmean(facts[name]) if facts[name] else None
        return facts


def pairs_of(work: Work) -> tuple[list[Pair], JudgeReport]:
    """Every query that both models have answered, and a report that counts the others and the refusals."""
    report = JudgeReport()
    local, cloud = work.answers(LOCAL_ROLE), work.answers(CLOUD_ROLE)
    pairs = []
    for query in work.queries(sampled=True):
        if query.id in local and query.id in cloud:
            pairs.append(Pair(query, local[query.id], cloud[query.id][0]))
        else:
            report.missing("an answer is missing")
    report.refusals[LOCAL_ROLE] = sum(a.is_refused for pair in pairs for a in pair.local)
    report.refusals[CLOUD_ROLE] = sum(pair.cloud.is_refused for pair in pairs)
    return pairs, report


def require_pairs(work: Work) -> tuple[list[Pair], JudgeReport]:
    """The same, where there is a pair.

    Raises:
        InputError: no query has both answers.
    """
    found = pairs_of(work)
    if not found[0]:
        raise InputError(
            f"{work.directory}: no query has both answers yet. Run `pointsman collect` to its end first."
        )
    return found


def require_column(pairs: Sequence[Pair], column: str) -> None:
    """Refuse a column that is nowhere.

    Raises:
        DataError: no collected row has it.
    """
    if not any(column in pair.query.columns for pair in pairs):
        names = sorted({name for pair in pairs for name in pair.query.columns})
        raise DataError(f"--expected {column}: no collected row has that column; found {names}.")


def expected_of(query: Query, column: str) -> str | None:
    """What a row expects, as text; see `value_of`."""
    return value_of(query.columns, column)


def value_of(columns: Mapping[str, Any], column: str) -> str | None:
    """A column's value as text; None where it says nothing: no value, white space, or not a number."""
    value = columns.get(column)
    if isinstance(value, dict | list):
        return json.dumps(value)
    is_missing = value is None or value != value or not str(value).strip()
    return None if is_missing else str(value)
