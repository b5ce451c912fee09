import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.bench.made_results import small_benchmark

from pointsman.bench.report.facts import fact_tables, plain
from pointsman.bench.report.html import render_html
from pointsman.bench.report.markdown import render_markdown, render_table, report_tables
from pointsman.bench.report.tables import Row, Table, mebibytes, milliseconds, ratio_in_words
from pointsman.bench.results import Benchmark
from pointsman.bench.statistics import Ratio

VOID = {"meta", "br", "img"}


class Balance(HTMLParser):
    """Fails where tags do not close in order; collects text and attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def page(benchmark: Benchmark) -> Balance:
    parsed = Balance()
    parsed.feed(render_html(benchmark))
    parsed.close()
    assert parsed.open == []
    return parsed


def test_markdown_tables_have_as_many_cells_as_columns() -> None:
    text = render_markdown(small_benchmark())
    blocks = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert len(blocks) == len(report_tables(small_benchmark()))
    for block in blocks:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1, block


@pytest.mark.parametrize(
    "words",
    [
        "| **folded int8** | 2.52 ms (6.0x) | 5.05 ms (6.0x) |",
        "| PyTorch eager | 15.2 ms | 30.3 ms |",
        "| PyTorch compiled | left out of this set of scenarios |",
        "1/5.0",
        "Imaginary 9000",
        "&lt;b>&",
    ],
)
def test_markdown_says_what_was_measured(words: str) -> None:
    assert words in render_markdown(small_benchmark())


def test_the_page_is_well_formed_and_needs_nothing_else() -> None:
    parsed = page(small_benchmark())
    names = {name for name, _ in parsed.attributes}
    assert not names & {"href", "onclick", "onload"}
    assert all(str(value).startswith("data:image/png;") for name, value in parsed.attributes if name == "src")
    html = render_html(small_benchmark())
    assert not re.search(r"https?://|@import|url\(|<script", html)
    assert "prefers-color-scheme: dark" in html
    assert "width=device-width" in html


def test_the_page_shows_the_figures() -> None:
    text = " ".join(page(small_benchmark()).text)
    for words in ("6.0x", "5.05 ms", "1/5.0", "Every series", "fold_nonorm", "<b>&"):
        assert words in text


def test_markup_in_data_stays_text() -> None:
    hostile = replace(small_benchmark(), subject="<script>alert(1)</script>")
    html = render_html(hostile)
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_an_empty_benchmark_still_renders() -> None:
    nothing = replace(small_benchmark(), runs=(), facts={})
    assert "## Not measured" in render_markdown(nothing)
    page(nothing)


def test_a_cell_stays_one_cell() -> None:
    text = render_table(Table("t", ("a", "b"), (Row(("x | y\nz", "*")),)))
    assert "| x \\| y z | \\* |" in text


@pytest.mark.parametrize(
    ("nanoseconds", "words"),
    [(1.234e6, "1.23 ms"), (12.34e6, "12.3 ms"), (1234e6, "1234 ms"), (12.3e9, "12.3 s"), (2e3, "0.00 ms")],
)
def test_milliseconds(nanoseconds: float, words: str) -> None:
    assert milliseconds(nanoseconds) == words


def test_mebibytes() -> None:
    assert [mebibytes(size) for size in (0, 1.5 * 2**20, 99 * 2**20)] == ["–", "1.5 MiB", "99 MiB"]


def test_ratios_in_words() -> None:
    assert ratio_in_words(None) == "–"
    assert ratio_in_words(Ratio((2.0, 3.0, 2.5))) == "2.50x (2.00 to 3.00)"
    assert ratio_in_words(Ratio((0.9, 1.2))) == "no change: 1.05x (0.90 to 1.20)"
    assert ratio_in_words(Ratio((0.9, 1.2)), " s") == "1.05 s (0.90 to 1.20)"


def test_facts_of_any_shape_become_tables() -> None:
    facts = {
        "int8": {"limit": 63, "per_channel": True, "note": None},
        "steps": [{"name": "a", "done": 1}, {"name": "b", "reason": "zero scale"}],
        "list": [1, 2.5],
    }
    single, steps = fact_tables("Conversion", facts)
    assert [row.cells for row in single.rows] == [
        ("int8 · limit", "63"),
        ("int8 · per channel", "yes"),
        ("int8 · note", "–"),
        ("list", "1, 2.5"),
    ]
    assert steps.headers == ("name", "done", "reason")
    assert [row.cells for row in steps.rows] == [("a", "1", "–"), ("b", "–", "zero scale")]


def test_rows_of_the_same_keys_become_a_grid() -> None:
    facts = {"plain": {"max_p": 1e-7, "passed": True}, "int8": {"max_p": 0.004, "passed": True}}
    (grid,) = fact_tables("Parity", facts)
    assert (grid.title, grid.headers) == ("Parity", ("", "max p", "passed"))
    assert [row.cells for row in grid.rows] == [("plain", "1e-07", "yes"), ("int8", "0.004", "yes")]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(min_size=1), JSON, max_size=4))
def test_no_fact_breaks_a_table(facts: dict[str, object]) -> None:
    for table in fact_tables("t", facts):
        assert all(len(row.cells) == len(table.headers) for row in table.rows)
        assert all(isinstance(cell, str) for row in table.rows for cell in row.cells)


def test_numbers_are_short() -> None:
    assert [plain(value) for value in (1e-7, 12345, {"a_b": 0.5}, "x")] == [
        "1e-07",
        "12,345",
        "a b: 0.5",
        "x",
    ]
