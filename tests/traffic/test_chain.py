"""From a log to a router, against models whose truth is known."""

import json
from pathlib import Path

import pytest
from tests.support.fake_models import is_hard, log_of
from tests.support.tiny_mobilebert import tiny_mobilebert
from tests.traffic.conftest import rows, write_log

from pointsman.cli.__main__ import main
from pointsman.runtime.router import Router
from pointsman.traffic.work import Work

pytestmark = [pytest.mark.torch]


def test_a_log_becomes_rows_with_scores_and_nothing_is_paid_twice(models, collect, judge):
    assert collect() == 0
    assert judge() == 0
    found = rows()
    assert [row["query"] for row in found] == log_of(30)
    for row in found:
        assert (row["weak_score"], row["strong_score"]) == ((0, 1) if is_hard(row["query"]) else (1, 1))
        assert row["cloud"]["cost"] == pytest.approx(0.003)
    asked = [len(model.seen) for model in (models.local, models.cloud, models.judge)]
    assert asked == [30, 30, 60]
    # Nothing is left to pay, so nobody has to agree.
    assert collect(agreed=False) == 0
    assert main(["judge", "work", *models.judging()]) == 0
    assert asked == [len(model.seen) for model in (models.local, models.cloud, models.judge)]


def test_the_scores_become_a_router_that_knows_the_truth(models, collect, judge, capsys):
    write_log(log_of(260))
    tiny_mobilebert(Path("base"))
    assert collect("--concurrency", "16") == 0
    assert judge("--concurrency", "16") == 0
    capsys.readouterr()
    fit = [
        "fit",
        "work",
        "--output",
        "router",
        "--base",
        "base",
        "--threads",
        "1",
        "--json",
    ]
    assert main(fit) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["recommended"], found
    fresh = [query for query in log_of(400, seed=5) if query not in log_of(260)][:100]
    decisions = Router.open(Path("router")).route_many(fresh)
    right = [(d.p_cloud >= 0.5) == is_hard(query) for d, query in zip(decisions, fresh, strict=True)]
    assert sum(right) >= 90
    report = Path("work/report-router.html").read_text()
    assert "use it" in report
    assert "USD per 1,000 queries" in report

    assert main(["choose", "router", "work", "--per-month", "1000", "--output", "chosen", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    with Work.open(Path("work")) as work:
        assert work.fact("pair")["cloud"] == "large"
    router, chosen = Router.open(Path("chosen")), found["chosen"]
    assert router.policy.effective_threshold == chosen["threshold"]
    assert chosen["recovered"] >= 0.95
    assert chosen["month"] == pytest.approx(chosen["share"] * 1000 * 0.003)
    assert main(["choose", "router", "work", "--per-month", "1000", "--budget", "0.5"]) == 0
    assert "-> " in capsys.readouterr().out
