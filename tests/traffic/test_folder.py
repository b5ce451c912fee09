"""What a work folder takes and refuses: it describes one log, one pair and one way of asking."""

import json
import sqlite3
from pathlib import Path

import pytest
from tests.support.fake_models import log_of, refused
from tests.support.openai_messages import whole
from tests.traffic.conftest import rows, write_log

from pointsman.cli.__main__ import main
from pointsman.traffic.work import Work


def asked() -> list[str]:
    with Work.open(Path("work")) as work:
        return [query.text for query in work.queries(sampled=True)]


@pytest.mark.parametrize("how", ["dry run", "no", "no terminal", "no prices", "interrupted"])
def test_a_run_without_consent_leaves_nothing_that_a_later_one_would_pay(
    models, collect, capsys, monkeypatch, how
):
    write_log(log_of(9, seed=3))
    Path("system.txt").write_text("Be brief.")
    words = ["--dry-run"] if how == "dry run" else ["--budget", "1"] if how == "no prices" else []

    def ended(_: bool) -> bool:
        if how == "no":
            return False
        raise KeyboardInterrupt

    if how == "no prices":
        Path("gateway.toml").write_text(models.config(prices=""))
    code = {"dry run": 0, "no": 0, "interrupted": 130}.get(how, 2)
    with monkeypatch.context() as patch:
        if how in ("no", "interrupted"):
            patch.setattr("pointsman.cli.traffic_config.agreed", ended)
        assert collect(*words, "--system", "system.txt", agreed=False) == code
    assert asked() == []
    Path("gateway.toml").write_text(models.config())
    write_log(log_of(5))
    assert collect() == 0
    assert asked() == log_of(5)
    assert len(models.cloud.seen) == 5


def test_prices_that_come_later_price_what_was_answered(models, collect, judge, capsys):
    Path("gateway.toml").write_text(models.config(prices=""))
    assert collect("--json") == 0
    assert json.loads(capsys.readouterr().out)["spent"]["cloud"] is None
    assert collect() == 0
    assert "money unknown" in (said := capsys.readouterr().out) and "0 USD" not in said
    assert judge() == 0
    assert rows()[0]["cloud"]["cost"] is None
    for prices, cost in (("price_in = 1.0\nprice_out = 4.0", 0.003), ("price_in = 2\nprice_out = 8", 0.006)):
        Path("gateway.toml").write_text(models.config(prices=prices))
        assert collect("--json") == 0
        assert json.loads(capsys.readouterr().out.splitlines()[-1])["spent"]["cloud"] == pytest.approx(
            30 * cost
        )
        assert judge() == 0
        assert rows()[0]["cloud"]["cost"] == pytest.approx(cost)
    assert len(models.cloud.seen) == 30


def test_what_the_judge_costs_is_said(models, collect, judge, capsys):
    assert collect() == 0
    assert judge() == 0
    assert "spent on the judge" not in capsys.readouterr().out
    assert judge("--judge-price-in", "1", "--judge-price-out", "4") == 0
    assert "0.18 USD spent on the judge" in capsys.readouterr().out


def test_a_budget_without_the_judges_prices_names_their_flags(models, collect, judge, capsys):
    assert collect() == 0
    assert judge("--budget", "1") == 2
    assert "--judge-price-in" in capsys.readouterr().err
    assert models.judge.seen == []
    assert judge() == 0
    assert judge("--budget", "1") == 0  # nothing is left to pay


@pytest.mark.parametrize("side", ["local", "cloud", "system"])
def test_answers_of_another_pair_are_refused(models, collect, capsys, side):
    assert collect() == 0
    paid = len(models.cloud.seen) + len(models.local.seen)
    words = []
    if side == "system":
        Path("system.txt").write_text("Be brief.")
        words = ["--system", "system.txt"]
    else:
        name = {"local": '"small"', "cloud": '"large"'}[side]
        Path("gateway.toml").write_text(models.config().replace(name, '"another"'))
    assert collect(*words) == 2
    assert "new folder" in capsys.readouterr().err
    assert len(models.cloud.seen) + len(models.local.seen) == paid


def test_a_model_whose_name_was_wrong_may_be_corrected(models, collect):
    models.cloud.failing = models.local.failing = lambda number: refused(404, "no such model")
    Path("gateway.toml").write_text(models.config().replace('"large"', '"larje"'))
    assert collect() == 7
    models.cloud.failing = models.local.failing = lambda number: None
    Path("gateway.toml").write_text(models.config())
    assert collect() == 0


def test_a_judgement_of_an_answer_that_was_replaced_is_forgotten(models, collect, judge, capsys):
    assert collect() == 0
    assert judge() == 0
    assert len(rows()) == 30
    write_log(log_of(30)[:4])
    assert collect("--max-tokens", "50") == 0
    with Work.open(Path("work")) as work:
        assert len(work.judgements()) == 0
    assert judge() == 0
    assert len(rows()) == 30


@pytest.mark.parametrize("command", ["judge", "label"])
def test_a_folder_without_a_pair_says_what_comes_first(models, collect, judge, capsys, command):
    assert collect("--dry-run") == 0
    assert main([command, "work", *(models.judging() if command == "judge" else [])]) == 2
    assert "ollect" in capsys.readouterr().err


def test_answers_without_a_text_are_said(models, collect, capsys):
    empty = whole(b'{"choices": [{"message": {"content": null}}]}')
    models.cloud.failing = lambda number: None if number % 3 else empty
    assert collect() == 0
    assert "10 cloud answers are refused or empty" in capsys.readouterr().out


def test_bad_rows_are_counted_beyond_those_that_are_shown(models, collect, capsys):
    lines = [json.dumps({"query": query}) for query in log_of(3)] + ['{"query": ""}'] * 50
    Path("log.jsonl").write_text("\n".join(lines))
    assert collect() == 0
    said = capsys.readouterr()
    assert "30 more bad rows" in said.err and "(50 bad)" in said.out


def test_a_database_of_somebody_else_stays_as_it_is(models, collect, capsys):
    Path("work").mkdir()
    with sqlite3.connect("work/work.db") as db:
        db.execute("CREATE TABLE accounts(name TEXT)")
    db.close()
    before = Path("work/work.db").read_bytes()
    assert collect() == 2
    assert "not a database of pointsman" in capsys.readouterr().err
    assert Path("work/work.db").read_bytes() == before


def test_a_folder_that_cannot_be_written_is_said_to_be_read_only(models, collect, judge, capsys, monkeypatch):
    assert collect() == 0

    def refuses(*_: object) -> None:
        raise sqlite3.OperationalError("attempt to write a readonly database")

    monkeypatch.setattr("pointsman.traffic.work.prepare", refuses)
    monkeypatch.setattr("pointsman.traffic.work.os.access", lambda *_: False)
    assert judge() == 1
    assert "it is read-only" in (said := capsys.readouterr().err) and "Make room" not in said
