"""The HTML report of a fit: what stands in it, and how it reads on a telephone."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tests.support.browser import CHROMIUM

from pointsman.fit.comparison import FITTED, LENGTH, ROUTER, WORDS, compare
from pointsman.fit.report import render_report
from pointsman.fit.rows import Rows

LONG = "https://example.org/" + "a-very-long-path-" * 20


def report(path: Path, cost: float | None = 0.003, p_cloud: float | None = None) -> str:
    """The report of 200 rows; `cost` is of an answer of the cloud, `p_cloud` of every row."""
    rng = np.random.default_rng(0)
    strong = rng.integers(0, 2, 200).astype(float)
    queries = tuple(f"{LONG} {at}" for at in range(200))
    paid = {"local": {"cost": 0.0 if cost is not None else None}, "cloud": {"cost": cost}}
    rows = Rows(queries, np.zeros(200), strong, np.ones(200), np.arange(200) % 5, (paid,) * 200)
    scores = {name: strong + rng.normal(size=200) for name in (FITTED, ROUTER, LENGTH, WORDS)}
    fitted = SimpleNamespace(
        artifact=SimpleNamespace(path=Path("a-router-of-a-rather-long-name-2026-11-26-candidate-3")),
        learned=SimpleNamespace(
            rows=rows, scores=scores, compared=compare(rows, scores), fit=SimpleNamespace(from_words=0.4)
        ),
        p_cloud=1.0 / (1.0 + np.exp(-scores[FITTED])) if p_cloud is None else np.full(200, p_cloud),
        recommended=False,
        sentence="It does not beat query length. Nothing is recommended.",
        facts={"pair": {"local": "llama3.2:3b-instruct-q4_K_M", "cloud": "gpt-4o", "currency": "USD"}},
        agreement=None,
    )
    text = render_report(fitted)  # type: ignore[arg-type]
    path.write_text(text, encoding="utf-8")
    return text


def test_without_prices_the_report_says_so_and_shows_no_empty_money(tmp_path):
    text = report(tmp_path / "report.html", cost=None)
    assert "No prices given" in text and "price_in" in text
    assert "USD per" not in text and "saved" not in text
    assert ">-<" not in text
    assert "No prices given" not in report(tmp_path / "priced.html")


@pytest.mark.parametrize("p_cloud", [0.0, 0.3, 1.0])
def test_rows_that_no_threshold_tells_apart_have_a_report(tmp_path, p_cloud):
    """As of texts that the router cannot read, which all go to the cloud."""
    assert "What it gets wrong" in report(tmp_path / "report.html", p_cloud=p_cloud)


def test_a_bin_is_not_named_by_two_equal_numbers(tmp_path):
    bins = re.findall(r">(\d\.\d+) to (\d\.\d+)<", report(tmp_path / "report.html"))
    assert len(bins) > 5
    assert all(low < high for low, high in bins)


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_scrolls_sideways(tmp_path, browser, width):
    page = tmp_path / "report.html"
    report(page)
    browser.call(
        "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=True
    )
    browser.call("Page.navigate", url=page.as_uri())
    browser.until("document.readyState === 'complete' && document.querySelectorAll('td').length > 20")
    wide = "[...document.querySelectorAll('html, body, section')].filter(e => e.scrollWidth > e.clientWidth)"
    assert browser.run(f"{wide}.length") == 0
    right = "Math.max(...[...document.querySelectorAll('td, li')].map(e => e.getBoundingClientRect().right))"
    assert browser.run(right) <= width
    heads = "[...document.querySelectorAll('td')].map(e => getComputedStyle(e, '::before').content)"
    shown = browser.run(f"{heads}.filter(text => text !== 'none').length")
    assert (shown > 20) == (width < 640), "each line of a narrow table has its head"
