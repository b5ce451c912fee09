"""The check harness: its arithmetic, and that the suites' pages are what their results say."""

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks.serving import peers, relay, speed  # noqa: F401
from benchmarks.serving.page import PAGE as SERVING_PAGE
from benchmarks.serving.suite import SUITE as SERVING
from tests.reliability import checks  # noqa: F401
from tests.reliability.checks.parsers import PARSERS
from tests.reliability.fuzz_targets import FUZZ_TARGETS, HeaderFilter, seeds, words
from tests.reliability.page import PAGE
from tests.reliability.suite import SUITE
from tests.support.harness.measure import Entry, Results, at_least, at_most, every, none, noted, within
from tests.support.harness.open_load import quantile
from tests.support.harness.page import Page
from tests.support.harness.runner import record
from tests.support.places import ROOT
from tests.support.process import Server, merged, toml


def entry(*measures: object, error: str = "") -> Entry:
    return Entry("A1", 1.0, measures, error=error)  # type: ignore[arg-type]


@pytest.mark.parametrize("page", [PAGE, SERVING_PAGE], ids=lambda page: page.path.stem)
def test_the_page_is_what_the_results_say(page: Page) -> None:
    for path, text in page.render(Results.read(page.results)).items():
        assert path.read_text(encoding="utf-8") == text


def test_the_tests_that_the_checks_name_exist() -> None:
    for check in (*SUITE.checks.values(), *SERVING.checks.values()):
        if check.tests:
            path, *names = check.tests.split("::")
            text = (ROOT / path).read_text(encoding="utf-8")
            assert all(f"def {name}" in text or f"class {name}" in text for name in names), check.tests


def test_checks_are_chosen_by_id_or_by_part() -> None:
    assert [check.id for check in SUITE.chosen("B3")] == ["B3"]
    assert {check.id[0] for check in SUITE.chosen("F,G")} == {"F", "G"}
    assert len(SUITE.chosen("")) == len(SUITE.checks)
    with pytest.raises(SystemExit):
        SUITE.chosen("Z9")


def test_a_time_that_is_late_fails_no_count() -> None:
    late = entry(none("lost", 0, 100), within("p99", 300, 250))
    assert (late.counts_hold, late.holds) == (True, False)
    assert not entry(every("answered", 99, 100)).counts_hold
    assert not entry(at_most("growth", 17, 16)).counts_hold
    assert not entry(at_least("calls", 1, 2)).counts_hold
    assert not entry(error="it broke").counts_hold
    assert entry(noted("p50", 3)).holds


def test_nothing_of_n_has_a_bound() -> None:
    assert none("lost", 0, 300).bound == pytest.approx(0.01)
    assert none("lost", 1, 300).bound is None
    assert every("all", 300, 300).bound is None


@pytest.mark.parametrize("name", FUZZ_TARGETS)
def test_what_is_fuzzed_takes_good_input_and_cut_and_turned_input(name: str) -> None:
    assert set(FUZZ_TARGETS) == set(PARSERS)
    eat = FUZZ_TARGETS[name]()
    for data in [*seeds(name)[:20], *(word.encode() for word in words(name)[:20])]:
        for mutated in (data, data[: len(data) // 2], data[::-1]):
            eat(mutated)
    if isinstance(eat, HeaderFilter):
        eat.close()


@pytest.mark.parametrize(("share", "value"), [(0.0, 1), (0.5, 6), (0.99, 10), (1.0, 10)])
def test_quantiles(share: float, value: float) -> None:
    assert quantile(list(range(10, 0, -1)), share) == value
    assert quantile([], share) == 0.0


def test_a_server_that_writes_a_lot_is_not_stopped_by_it(tmp_path: Path) -> None:
    async def exit_code() -> int | None:
        server = Server([sys.executable, "-c", "print('x' * 300_000)"], tmp_path)
        try:
            return await server.ended(30)
        finally:
            await server.stop()

    assert asyncio.run(exit_code()) == 0
    assert (tmp_path / "log").stat().st_size > 300_000


def test_settings_become_toml() -> None:
    import tomllib

    tree = {"demo": True, "routing": {"rules": [{"name": "a", "send": "local", "keywords": ["x"]}]}}
    tree = merged(tree, {"server": {"port": 0}, "upstreams": {"local": {"url": "http://x/v1"}}})
    assert tomllib.loads(toml(tree)) == tree


def test_a_few_checks_take_their_places_among_the_recorded_ones(tmp_path: Path) -> None:
    def results(size: str, *entries: Entry) -> Results:
        return Results(size, "2026-01-01T00:00:00+00:00", 1.0, {}, True, list(entries))

    path = tmp_path / "results.json"
    first, second = entry(none("lost", 1, 9)), replace(entry(none("lost", 0, 9)), id="A2")
    record(results("small", first, second), path, SUITE, is_part=False)
    record(results("small", entry(none("lost", 0, 10))), path, SUITE, is_part=True)
    assert [(e.id, e.measures[0].n) for e in Results.read(path).entries] == [("A1", 10), ("A2", 9)]
    record(results("small", replace(second, id="B1")), path, SUITE, is_part=True)
    assert [e.id for e in Results.read(path).entries] == ["A1", "A2", "B1"]
    record(results("full", second), path, SUITE, is_part=True)
    assert [e.id for e in Results.read(path).entries] == ["A2"]
