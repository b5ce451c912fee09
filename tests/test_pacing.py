"""The arithmetic of a budget: what is expected, what can be afforded, and how slowly a threshold moves."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.pacing import (
    HOUR_S,
    WINDOW_HOURS,
    Hour,
    Period,
    approached,
    expected_rest,
    paced_threshold,
    score_bin,
    threshold_at,
)

START = 1_000 * 24
"""A whole day, in hours."""


def uniform_scores(count: int = 20_000) -> dict[int, int]:
    scores: dict[int, int] = {}
    for number in range(count):
        at = score_bin((number + 0.5) / count)
        scores[at] = scores.get(at, 0) + 1
    return scores


def test_the_rest_is_expected_to_be_like_the_hours_that_are_known() -> None:
    day = {START + hour: 100.0 if 8 <= hour < 20 else 10.0 for hour in range(24)}
    now = (START + 24) * HOUR_S
    assert expected_rest(day, now, now + 24 * HOUR_S) == sum(day.values())
    assert expected_rest(day, now + 9 * HOUR_S, now + 10 * HOUR_S) == 100.0
    assert expected_rest(day, now + 9.75 * HOUR_S, now + 11 * HOUR_S) == pytest.approx(125.0)
    week = {START + hour: 70.0 if hour < 120 else 7.0 for hour in range(WINDOW_HOURS)}
    monday = (START + WINDOW_HOURS) * HOUR_S
    assert expected_rest(week, monday, monday + WINDOW_HOURS * HOUR_S) == sum(week.values())
    assert expected_rest(week, monday + 120 * HOUR_S, monday + 121 * HOUR_S) == 7.0
    assert expected_rest({}, now, now + 1) is None
    assert expected_rest({START: 5.0}, START * HOUR_S + 1.0, START * HOUR_S + 60.0) is None


def test_a_trend_of_two_weeks_goes_on_for_one_more() -> None:
    weeks = {START + hour: 100.0 if hour < WINDOW_HOURS else 80.0 for hour in range(2 * WINDOW_HOURS)}
    now = (START + 2 * WINDOW_HOURS) * HOUR_S
    assert expected_rest(weeks, now, now + HOUR_S) == pytest.approx(80 * 0.8**0.5)
    far = now + 10 * WINDOW_HOURS * HOUR_S
    last = expected_rest(weeks, now, far) - expected_rest(weeks, now, far - HOUR_S)  # type: ignore[operator]
    assert last == pytest.approx(80 * 0.8**1.5)
    tenfold = {at: amount * (1.0 if at < START + WINDOW_HOURS else 10.0) for at, amount in weeks.items()}
    assert expected_rest(tenfold, now, now + HOUR_S) == pytest.approx(800 / 0.7**0.5)


def test_an_hour_without_queries_counts_as_one() -> None:
    now = (START + 4) * HOUR_S
    assert expected_rest({START: 40.0}, now, now + HOUR_S) == 10.0


@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 0.5, 0.9, 1.0])
def test_the_threshold_sends_the_share(share: float) -> None:
    sent = 1.0 - threshold_at(uniform_scores(), share)
    assert sent == pytest.approx(share, abs=0.002)


@given(
    st.dictionaries(st.integers(-160, 160), st.integers(0, 50), min_size=1), st.floats(0, 1), st.floats(0, 1)
)
def test_a_larger_share_never_has_a_higher_threshold(
    scores: dict[int, int], one: float, other: float
) -> None:
    less, more = sorted((one, other))
    assert 0.0 <= threshold_at(scores, more) <= threshold_at(scores, less) <= 1.0


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1e7), st.floats(0, 30 * 86400))
def test_a_threshold_is_approached_and_never_passed(
    current: float, wanted: float, elapsed: float, now: float
) -> None:
    moved = approached(current, wanted, elapsed, now, Period(0.0, 30 * 86400.0, 1.0, 0.0))
    low, high = sorted((current, wanted))
    assert max(0.0, low - 1e-6) <= moved <= min(1.0, high + 1e-6)


def test_it_moves_slowly_and_faster_near_the_end() -> None:
    month = Period(0.0, 30 * 86400.0, 1.0, 0.0)
    assert abs(approached(0.5, 0.9, 60.0, 0.0, month) - 0.5) < 0.002
    assert approached(0.5, 0.9, 60.0, month.end_s - 120.0, month) > 0.85


def test_the_operators_threshold_holds_until_enough_is_known() -> None:
    now, scores = (START + 2) * HOUR_S, uniform_scores()
    period = Period(START * HOUR_S, now + 100 * HOUR_S, 10.0, 0.0)
    known = {START: Hour(50, 19, 1.9, 0.0), START + 1: Hour(50, 0, 0.0, 0.0)}
    assert paced_threshold(now, period, known, scores, 0.37) == 0.37
    assert paced_threshold(now, period, {**known, START: Hour(50, 20, 2.0, 0.0)}, {0: 99}, 0.37) == 0.37
    enough = paced_threshold(now, period, {**known, START: Hour(50, 20, 2.0, 0.0)}, scores, 0.37)
    # 10 of money for 100 hours of 50 queries at 0.1 a call: a fiftieth of them.
    assert enough == pytest.approx(0.98, abs=0.001)


def test_other_spending_is_kept_back_and_an_empty_purse_sends_nothing() -> None:
    now, scores = (START + 1) * HOUR_S, uniform_scores()
    hours = {START: Hour(100, 50, 5.0, 1.0)}

    def threshold(amount: float, spent: float) -> float:
        return paced_threshold(now, Period(0.0, now + 10 * HOUR_S, amount, spent), hours, scores, 0.5)

    assert threshold(66.0, 6.0) == pytest.approx(0.5, abs=0.001)
    assert threshold(1000.0, 0.0) == 0.0
    assert threshold(6.0, 6.0) == threshold(10.0, 6.0) > 0.999


def test_scores_at_the_ends_have_bins() -> None:
    draw = random.Random(7)
    bins = [score_bin(p) for p in (0.0, 1.0, 5e-324, 1 - 1e-16, *(draw.random() for _ in range(100)))]
    assert min(bins) == -max(bins) == -160
