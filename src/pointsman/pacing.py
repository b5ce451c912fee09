"""A threshold that spends a budget evenly: pure arithmetic over counts, scores and money, without a clock.

What is left of the period's money, less what other calls will take, divided by what the period's remaining
queries would cost in the cloud, is the share of them that can go there. The threshold above which that share
of recent scores lies is approached slowly, and faster when the period's end is near.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

HOUR_S = 3600
WINDOW_HOURS = 168
"""A week: the hours that the next ones are expected to be like."""
_BINS_A_UNIT, _LAST_BIN = 10, 160
"""Scores are counted in tenths of log-odds, so that the ends near 0 and 1 are as fine as the middle."""
_FEWEST_CALLS, _FEWEST_SCORES = 20, 100
_SLOWNESS, _HURRY = 100, 4
_MOST_WEEKS, _LEAST_GROWTH = 1.5, 0.7


@dataclass(frozen=True, slots=True)
class Hour:
    """What happened in an hour.

    Attributes:
        routed: queries that the router's threshold decided.
        calls: those of them that the cloud answered.
        cost: money for these.
        other: money for everything else.
    """

    routed: float = 0.0
    calls: float = 0.0
    cost: float = 0.0
    other: float = 0.0


@dataclass(frozen=True, slots=True)
class Period:
    """A budget's period, in seconds since the epoch, and its money; `spent` of it so far."""

    start_s: float
    end_s: float
    amount: float
    spent: float


def score_bin(p_cloud: float) -> int:
    """The bin that a p_cloud of 0..1 is counted in."""
    return round(_log_odds(p_cloud) * _BINS_A_UNIT)


def paced_threshold(
    now_s: float, period: Period, hours: Mapping[int, Hour], scores: Mapping[int, int], wanted: float
) -> float:
    """The threshold on p_cloud, 0..1, that ends the period on its budget as far as can be told.

    Args:
        now_s: seconds since the epoch, inside the period.
        period: the money, and until when.
        hours: by number of the hour since the epoch; one that is missing among them had no query.
        scores: number of recent queries in each bin of `score_bin`.
        wanted: the threshold of the operator, which holds until an hour and a few cloud calls are known.
    """
    recent = [hour for at, hour in hours.items() if at >= now_s // HOUR_S - WINDOW_HOURS]
    for known in (recent, list(hours.values())):
        calls, cost = sum(hour.calls for hour in known), sum(hour.cost for hour in known)
        if calls >= _FEWEST_CALLS:
            break
    rest = expected_rest({at: hour.routed for at, hour in hours.items()}, now_s, period.end_s)
    if rest is None or calls < _FEWEST_CALLS or cost <= 0.0 or sum(scores.values()) < _FEWEST_SCORES:
        return wanted
    other = expected_rest({at: hour.other for at, hour in hours.items()}, now_s, period.end_s) or 0.0
    money = max(0.0, period.amount - period.spent - other)
    share = 1.0 if rest <= 0.0 else min(1.0, money / (rest * cost / calls))
    return threshold_at(scores, share)


def approached(current: float, wanted: float, elapsed_s: float, now_s: float, period: Period) -> float:
    """The threshold after `elapsed_s` on the way from the current to the wanted one, both 0..1.

    The way is exponential in log-odds, with a hundredth of the period as its time constant, or a quarter of
    what is left of it where that is less.
    """
    constant = min((period.end_s - period.start_s) / _SLOWNESS, max(1.0, period.end_s - now_s) / _HURRY)
    part = 1.0 - math.exp(-elapsed_s / constant)
    start, end = _log_odds(current), _log_odds(wanted)
    return _probability(start + part * (end - start))


def expected_rest(amounts: Mapping[int, float], now_s: float, end_s: float) -> float | None:
    """What is to come until the end, if hours are like those of the last week; None before a whole hour.

    An hour is expected to be like the same hour of the week where a week is known, of the day where a day is,
    and else like the mean. Where two weeks are known, their trend goes on for another week, between 0.7 and
    1.4 a week.

    Args:
        amounts: by number of the hour; the present hour is not read.
    """
    present = int(now_s // HOUR_S)
    past = [at for at in amounts if at < present]
    if not past:
        return None
    first = max(min(past), present - WINDOW_HOURS)
    known = [(at, amounts.get(at, 0.0)) for at in range(first, present)]
    cycle = next((size for size in (WINDOW_HOURS, 24) if len(known) >= size), 1)
    alike: list[list[float]] = [[] for _ in range(cycle)]
    for at, amount in known:
        alike[at % cycle].append(amount)
    typical = [sum(same) / len(same) if same else 0.0 for same in alike]
    growth = _weekly_growth(amounts, present) if min(past) <= present - 2 * WINDOW_HOURS else 1.0
    # The last week's middle is half a week ago; for how long a trend goes on cannot be known.
    ahead = range(present + 1, int(end_s // HOUR_S))
    rest = sum(
        typical[at % cycle] * math.pow(growth, min(0.5 + (at - present) / WINDOW_HOURS, _MOST_WEEKS))
        for at in ahead
    )
    return rest + typical[present % cycle] * math.sqrt(growth) * (1.0 - now_s % HOUR_S / HOUR_S)


def _weekly_growth(amounts: Mapping[int, float], present: int) -> float:
    """The last week's amount over that of the week before, within bounds."""
    first, second = (present - weeks * WINDOW_HOURS for weeks in (2, 1))
    before = sum(amounts.get(at, 0.0) for at in range(first, second))
    last = sum(amounts.get(at, 0.0) for at in range(second, present))
    return max(_LEAST_GROWTH, min(1.0 / _LEAST_GROWTH, last / before)) if before else 1.0


def threshold_at(scores: Mapping[int, int], share: float) -> float:
    """The p_cloud, 0..1, that this share of the counted scores lies at or above; a bin is taken as even."""
    if share >= 1.0:
        return 0.0
    left = share * sum(scores.values())
    for number in sorted(scores, reverse=True):
        if scores[number] >= left > 0.0 or (left <= 0.0 and scores[number]):
            upper = (number + 0.5) / _BINS_A_UNIT
            return _probability(upper - left / scores[number] / _BINS_A_UNIT)
        left -= scores[number]
    return 0.0


def _log_odds(p: float) -> float:
    most = _LAST_BIN / _BINS_A_UNIT
    if p <= 0.0 or p >= 1.0:
        return most if p >= 1.0 else -most
    return max(-most, min(most, math.log(p) - math.log1p(-p)))


def _probability(log_odds: float) -> float:
    return 1.0 / (1.0 + math.exp(-log_odds))
