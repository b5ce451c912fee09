import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.bench.statistics import Ratio, doubts, ratio, summarize
from pointsman.errors import InputError

TIMINGS = st.lists(st.integers(1, 10**12), min_size=1, max_size=50)
FIGURES = st.floats(1e-3, 1e9)


@given(TIMINGS)
def test_percentiles_stand_in_order(timings: list[int]) -> None:
    found = summarize(timings)
    assert found.low <= found.p50 <= found.p95 <= found.p99 <= found.high
    assert found.low <= found.mean <= found.high
    assert (found.n, found.low, found.high) == (len(timings), min(timings), max(timings))


@given(TIMINGS, st.randoms(use_true_random=False))
def test_a_summary_does_not_depend_on_order(timings: list[int], random: object) -> None:
    shuffled = list(timings)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert summarize(shuffled).p50 == summarize(timings).p50
    assert summarize(shuffled).p99 == summarize(timings).p99


def test_known_percentiles() -> None:
    found = summarize(list(range(1, 102)))
    assert (found.p50, found.p95, found.p99) == (51, 96, 100)


def test_no_timings_are_refused() -> None:
    with pytest.raises(InputError, match="none"):
        summarize([])


@given(st.lists(st.tuples(FIGURES, FIGURES), min_size=1, max_size=20))
def test_a_ratio_has_its_median_between_its_ends(pairs: list[tuple[float, float]]) -> None:
    found = ratio([a for a, _ in pairs], [b for _, b in pairs])
    assert found.low <= found.median <= found.high
    back = ratio([b for _, b in pairs], [a for a, _ in pairs])
    assert back.low == pytest.approx(1 / found.high)


@pytest.mark.parametrize(
    ("values", "change"),
    [((1.2, 1.3), True), ((0.7, 0.9), True), ((0.9, 1.3), False), ((1.0, 1.4), False)],
)
def test_rounds_that_disagree_are_no_change(values: tuple[float, ...], change: bool) -> None:
    assert Ratio(values).is_change is change


@pytest.mark.parametrize(
    ("numerators", "denominators"),
    [([], []), ([1.0], []), ([1.0, 2.0], [1.0]), ([1.0], [0.0]), ([float("nan")], [1.0]), ([1.0], [-2.0])],
)
def test_ratios_of_nothing_are_refused(numerators: list[float], denominators: list[float]) -> None:
    with pytest.raises(InputError, match="ratio"):
        ratio(numerators, denominators)


def test_steady_rounds_raise_no_doubt() -> None:
    assert doubts([[100] * 20, [104] * 20], same_work=True) == ""


@pytest.mark.parametrize(
    ("rounds", "words"),
    [
        ([[100] * 20, [140] * 20], "medians of rounds are 33% apart"),
        ([[100] * 18 + [900] * 2], "p95 is"),
        ([[100], [100]], "only 2 calls"),
    ],
)
def test_doubts_say_why(rounds: list[list[int]], words: str) -> None:
    assert doubts(rounds, same_work=True).startswith("unstable: ")
    assert words in doubts(rounds, same_work=True)


def test_a_mix_may_have_a_long_tail() -> None:
    rounds = [[100] * 18 + [900] * 2] * 2
    assert doubts(rounds, same_work=False) == ""
