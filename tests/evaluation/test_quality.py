import json

import numpy as np
import pytest

from pointsman.datasets.outcomes import Dataset
from pointsman.evaluation.bootstrap import Bootstrap
from pointsman.evaluation.quality import (
    POOLED,
    Prices,
    Slice,
    assess_decisions,
    assess_difference,
    assess_examples,
    assess_flips,
    assess_ranking,
    assess_shares,
    assess_slice,
    groups_of,
)
from pointsman.evaluation.quality_text import render_markdown
from pointsman.policy import Policy

SURE = Bootstrap(40, 0)


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    p = rng.random(300)
    weak = (rng.random(300) > p).astype(float)
    group = np.array(["one", "two"] * 150)
    return Dataset(tuple(f"q{i}" for i in range(300)), group, weak, np.ones(300)), p


def test_groups_and_all_of_them(data):
    rows, _ = data
    groups = groups_of(rows)
    assert list(groups) == ["one", "two", POOLED]
    assert [int(r.sum()) for r in groups.values()] == [150, 150, 300]


def test_intervals_hold_their_value(data):
    rows, p = data
    for name, found in assess_ranking(rows, p, SURE)["figures"].items():
        assert found["low"] <= found["value"] <= found["high"] or name == "strong"


def test_money_follows_the_share(data):
    rows, p = data
    found = assess_decisions(rows, p, Policy(0.8, 0.0), Prices(1.0, 5.0), SURE)["figures"]
    share = float((p >= 0.8).mean())
    assert found["cost"]["value"] == pytest.approx(1.0 + 4.0 * share)
    assert found["saved"]["value"] == pytest.approx(1.0 - (1.0 + 4.0 * share) / 5.0)


def test_a_score_differs_from_itself_by_nothing(data):
    rows, p = data
    assert assess_difference(rows, p, p, SURE) == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_a_slice_counts_label_and_target(data):
    part = Slice("s", "local", ("a", "b", "c", "d"))
    found = assess_slice(part, np.array([0.1, 0.4, 0.6, 0.2]), Policy(), SURE)
    assert found["figures"]["label_right"]["value"] == 0.75
    assert found["figures"]["target_right"]["value"] == 0.5
    assert found["wrong"] == ["c"]


def test_flips_are_counted_by_edit():
    before = np.array([0.1, 0.9, 0.4])
    found = assess_flips(before, {"none": before, "all": 1.0 - before}, 0.5, SURE)["figures"]
    assert [found[name]["value"] for name in ("none", "all", "all edits")] == [0.0, 1.0, 0.5]


def test_shares_are_met_on_unseen_queries():
    p = np.random.default_rng(1).random(8000)
    for found in assess_shares(p, 0):
        assert found["got"] == pytest.approx(found["asked"], abs=0.02)


def test_the_page_shows_every_section_that_was_measured(data):
    rows, p = data
    sets = {
        name: {
            "rows": int(keep.sum()),
            "cloud_is_better": 0.5,
            "ranking": {"router": assess_ranking(rows.subset(keep), p[keep], SURE)},
            "decisions": assess_decisions(rows.subset(keep), p[keep], Policy(), Prices(), SURE),
        }
        for name, keep in groups_of(rows).items()
    }
    part = Slice("chat | talk", "local", ("a", "b"))
    report = {
        "name": "r",
        "router": "router",
        "command": "pointsman evaluate",
        "resamples": 40,
        "seed": 0,
        "policy": {"cloud_threshold": 0.5, "confidence_threshold": 0.7, "safe_target": "cloud"},
        "prices": {"local": 0.0, "cloud": 1.0},
        "sets": sets,
        "differences": {"other": assess_difference(rows, p, -p, SURE)},
        "shares": assess_shares(p, 0),
        "everyday": [assess_slice(part, np.array([0.1, 0.2]), Policy(), SURE)],
        "guide": assess_examples(part, np.array([0.1, 0.2])),
        "flips": assess_flips(p, {"case": p}, 0.5, SURE),
    }
    page = render_markdown(report)
    for title in ("baselines", "Cost and quality", "Decisions at", "Calibration", "Share asked", "Everyday"):
        assert f"## {title}" in page or title in page
    assert "chat \\| talk" in page
    assert f"{sets[POOLED]['ranking']['router']['figures']['auc']['value']:.3f} [" in page
    json.dumps(report, allow_nan=False)


def test_a_page_without_measured_sets_has_none_of_their_sections():
    page = render_markdown(
        {
            "name": "r",
            "router": "router",
            "command": "c",
            "resamples": 1,
            "seed": 0,
            "policy": {},
            "prices": {},
        }
    )
    assert "Calibration" not in page and page.startswith("# r")
