import pytest
from hypothesis import given
from hypothesis import strategies as st
from tools.benchmark_goals import read_goals

from pointsman.bench.results import Kind
from pointsman.bench.scenarios import read_preset
from pointsman.errors import DataError

LENGTHS = [5, 8, 9, 14, 30, 90]


@pytest.mark.parametrize("name", ["quick", "full"])
def test_the_presets_hold_every_shape_of_the_targets(name: str) -> None:
    made = read_preset(name).concrete(available=2, threads=None, lengths=LENGTHS, max_tokens=128)
    for goal in read_goals():
        assert any(goal.matches(scenario, 2) for scenario in made), goal.title


@given(st.lists(st.integers(2, 128), min_size=1, max_size=40))
def test_a_mix_is_drawn_from_the_queries(lengths: list[int]) -> None:
    made = read_preset("full").concrete(available=2, threads=None, lengths=lengths, max_tokens=128)
    mixes = [scenario for scenario in made if scenario.is_mix]
    assert mixes
    for mix in mixes:
        assert set(mix.lengths) <= set(lengths)
        assert (min(mix.lengths), max(mix.lengths)) == (min(lengths), max(lengths))


def test_asked_threads_win_and_repeats_go() -> None:
    preset = read_preset("full")
    made = preset.concrete(available=8, threads=3, lengths=LENGTHS, max_tokens=128)
    assert {scenario.threads for scenario in made} == {3}
    assert len({scenario.name for scenario in made}) == len(made) < len(preset.scenarios)


def test_rows_longer_than_the_model_reads_are_left_out() -> None:
    made = read_preset("full").concrete(available=1, threads=None, lengths=LENGTHS, max_tokens=16)
    assert made
    assert all(max(scenario.lengths, default=0) <= 16 for scenario in made)


def test_bulk_routes_every_query() -> None:
    made = read_preset("quick").concrete(available=2, threads=None, lengths=LENGTHS, max_tokens=128)
    assert [scenario.batch for scenario in made if scenario.kind is Kind.BULK] == 2 * [len(LENGTHS)]


def test_no_queries_are_refused() -> None:
    with pytest.raises(DataError, match="at least one query"):
        read_preset("quick").concrete(available=2, threads=None, lengths=[], max_tokens=128)
