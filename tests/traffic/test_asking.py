"""Paid calls: estimated, agreed to, within the budget, kept, and lost by nothing but the process's end."""

import json
import threading
from pathlib import Path

import pytest
from tests.support.fake_models import log_of, refused
from tests.support.openai_messages import completion, whole
from tests.traffic.conftest import rows, write_log

from pointsman.traffic.work import Work


def answers(role: str) -> int:
    with Work.open(Path("work")) as work:
        return len(work.answers(role))


def test_without_a_terminal_nothing_is_paid_unless_agreed(models, collect, capsys):
    assert collect(agreed=False) == 2
    said = capsys.readouterr().err
    assert "60 calls" in said and "USD" in said and "min" in said and "--yes" in said
    assert models.cloud.seen == models.local.seen == []


def test_a_dry_run_shows_the_estimate_and_stops(models, collect, capsys):
    assert collect("--dry-run", agreed=False) == 0
    assert "60 calls" in capsys.readouterr().err
    assert models.cloud.seen == []


@pytest.mark.parametrize("concurrency", [1, 8])
def test_the_budget_is_never_exceeded_by_more_than_the_calls_in_flight(models, collect, concurrency, capsys):
    assert collect("--budget", "0.02", "--concurrency", str(concurrency)) == 7
    # A call of the cloud costs 0.003; the estimate for the first ones is lower.
    assert len(models.cloud.seen) <= 6 + concurrency
    assert "stopped at the budget" in capsys.readouterr().err
    paid = len(models.cloud.seen)
    assert collect("--budget", "0.02") == 7
    assert len(models.cloud.seen) <= paid + 1
    assert collect("--budget", "1") == 0
    assert answers("cloud") == 30
    assert len(models.cloud.seen) == 30


def test_a_budget_needs_prices_and_unknown_prices_are_said(models, collect, capsys):
    Path("gateway.toml").write_text(models.config(prices=""))
    assert collect("--budget", "1") == 2
    assert "price" in capsys.readouterr().err
    assert models.cloud.seen == []
    assert collect() == 0
    assert "money unknown" in capsys.readouterr().err


def test_a_refused_key_stops_at_once_and_the_key_is_never_shown(models, collect, capsys, monkeypatch):
    monkeypatch.setenv("CLOUD_KEY", "sk-very-secret")
    Path("gateway.toml").write_text(models.config('api_key_env = "CLOUD_KEY"'))
    models.cloud.failing = lambda number: refused(401, "no such key")
    assert collect() == 7
    assert "status 401" in (said := capsys.readouterr().err)
    assert len(models.cloud.seen) <= 4
    assert "sk-very-secret" not in said
    models.cloud.failing = lambda number: None
    assert collect() == 0
    assert not any(
        b"sk-very-secret" in path.read_bytes() for path in Path("work").rglob("*") if path.is_file()
    )


def test_a_rate_limit_is_waited_for_and_an_error_is_not_kept(models, collect):
    models.cloud.failing = lambda n: refused(429, "slow down", "retry-after: 0\r\n") if n % 3 == 0 else None
    assert collect() == 0
    assert answers("cloud") == 30


def test_one_refused_request_is_the_rows_own_and_is_asked_again(models, collect, judge, capsys):
    models.cloud.failing = lambda number: refused(400, "content policy") if number == 5 else None
    assert collect() == 7
    assert answers("cloud") == 29
    assert "content policy" in capsys.readouterr().err
    assert judge() == 0
    assert len(rows()) == 29
    assert collect() == 0
    assert len(models.cloud.seen) == 31


def test_an_upstream_that_is_down_is_given_up(models, collect, capsys):
    models.local.failing = lambda number: refused(500, "broken", "retry-after-ms: 1\r\n")
    assert collect() == 7
    assert "failures in a row" in capsys.readouterr().err
    assert len(models.cloud.seen) < 30


def test_a_hanging_upstream_ends_in_time(models, collect, capsys):
    Path("gateway.toml").write_text(models.config("first_byte_timeout_s = 0.2\n"))
    write_log(log_of(2))
    models.cloud.delay_s = 1.0
    assert collect() == 7
    assert "no answer in time" in capsys.readouterr().err


@pytest.mark.parametrize("length", ["content-length: 900", "transfer-encoding: chunked"])
def test_an_answer_that_breaks_off_may_have_been_paid_and_is_not_repeated(models, collect, capsys, length):
    def cut(number: int) -> bytes | None:
        if number > 1:
            return None
        wire = models.cloud.wires[-1]
        wire.send(f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{length}\r\n\r\n".encode())
        wire.send(b'9\r\n{"choices' if "chunked" in length else b'{"choices')
        wire.finish()
        return b" "

    write_log(log_of(3))
    models.cloud.failing = cut
    assert collect("--concurrency", "1") == 7
    assert "broke off (it may have been paid)" in capsys.readouterr().err
    assert len(models.cloud.seen) == 3
    with Work.open(Path("work")) as work:
        assert work.spent(["cloud"]) > 2 * 0.003


def test_an_endpoint_that_breaks_off_before_an_answer_is_asked_again(models, collect):
    def cut(number: int) -> bytes | None:
        if number % 2:
            models.cloud.wires[-1].reset()
            return b" "
        return None

    write_log(log_of(3))
    models.cloud.failing = cut
    assert collect("--concurrency", "1") == 0


def test_an_answer_that_drips_ends_in_time(models, collect, capsys):
    Path("gateway.toml").write_text(models.config("first_byte_timeout_s = 0.3\nconnect_timeout_s = 0.3\n"))
    write_log(log_of(2))
    ended = threading.Event()

    def drip(number: int) -> bytes | None:
        wire = models.cloud.wires[-1]
        wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
        while not ended.wait(0.05):
            wire.send(b" ")
        return b" "

    models.cloud.failing = drip
    try:
        assert collect("--concurrency", "1") == 7
    finally:
        ended.set()
    assert "no answer in time" in capsys.readouterr().err


def test_a_judge_that_prefers_the_first_answer_makes_ties_and_is_found_out(models, collect, judge, capsys):
    models.judge.says = lambda text: "VERDICT: A"
    assert collect() == 0
    assert judge("--json") == 0
    facts = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert facts["first_won"] == facts["flipped"] == 1.0
    assert facts["verdicts"] == {"tie": 30}
    assert all((row["weak_score"], row["strong_score"]) == (1, 1) for row in rows())


def test_a_check_needs_no_judge_and_rows_without_a_value_are_counted(models, collect, capsys):
    from pointsman.cli.__main__ import main

    log = log_of(6)
    lines = [{"query": q, "length": len(q) if at else ""} for at, q in enumerate(log)]
    Path("log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert collect() == 0
    check = ["judge", "work", "--mode", "check", "--check", "number", "--expected"]
    assert main([*check, "length"]) == 0
    assert models.judge.seen == []
    assert [(row["weak_score"], row["strong_score"]) for row in rows()] == [(1, 1)] * 5
    assert "no value in 'length'" in capsys.readouterr().out
    assert main([*check, "nothing"]) == 2


@pytest.mark.parametrize("words", [["system"], ["samples"]])
def test_another_question_is_another_call(models, collect, words):
    assert collect() == 0
    Path("system.txt").write_text("Be brief.")
    more = {"system": ["--system", "system.txt"], "samples": ["--samples", "2"]}[words[0]]
    if words == ["system"]:
        more += ["--output", "other"]
    assert collect(*more) == 0
    assert len(models.local.seen) == {"system": 60, "samples": 90}[words[0]]
    assert len(models.cloud.seen) == {"system": 60, "samples": 30}[words[0]]


def test_two_processes_on_one_folder(models, collect, capsys):
    assert collect() == 0
    with Work.open(Path("work")):
        assert collect() == 2
    assert "in use" in capsys.readouterr().err


def test_a_folder_of_another_version(models, collect, capsys):
    import sqlite3

    assert collect() == 0
    db = sqlite3.connect("work/work.db")
    db.execute("PRAGMA user_version=99")
    db.close()
    assert collect() == 2
    assert "format 99" in capsys.readouterr().err
    Path("work/work.db").write_bytes(b"not a database at all, whatever it says" * 50)
    assert collect() == 2


def test_a_file_of_one_query_repeated_is_asked_once_and_weighs_all(models, collect, judge):
    write_log(["play the lights", "Play the lights!", " play  the lights "] * 20)
    assert collect() == 0
    assert judge() == 0
    assert len(models.cloud.seen) == 1
    assert [row["weight"] for row in rows()] == [60.0]


def test_what_may_have_been_paid_is_not_asked_twice_in_a_run_and_counts_for_the_budget(
    models, collect, capsys
):
    write_log(log_of(3))
    models.cloud.failing = lambda number: whole(completion("fine")[:-9]) if number == 1 else None
    assert collect("--concurrency", "1") == 7
    assert "expected a chat completion" in capsys.readouterr().err
    assert len(models.cloud.seen) == 3
    assert collect() == 0
    assert len(models.cloud.seen) == 4
    # Two answers are kept; what could not be read is expected to have cost as much as an answer.
    models.cloud.failing = lambda number: whole(b"{}")
    write_log(log_of(12, seed=1))
    assert collect("--concurrency", "1", "--budget", "0.02") == 7
    assert "budget" in capsys.readouterr().err


LONG_RESTS = ["retry-after: 3600", "retry-after: Fri, 31 Dec 2100 23:59:59 GMT", "retry-after-ms: 9000000"]


@pytest.mark.parametrize("header", [f"{rest}\r\n" for rest in LONG_RESTS])
def test_an_endpoint_that_asks_for_a_long_rest_is_believed(models, collect, capsys, header):
    models.cloud.failing = lambda number: refused(429, "come back later", header)
    assert collect() == 7
    said = capsys.readouterr().err
    assert "asks to wait" in said and "status 429" in said
    assert len(models.cloud.seen) <= 14


@pytest.mark.parametrize("value", ["Fri, 31 Dec 1999 23:59:59 GMT", "0", "0.01"])
def test_a_rest_that_is_over_is_not_waited_for(models, collect, value):
    models.cloud.failing = lambda number: (
        refused(429, "slow down", f"retry-after: {value}\r\n") if number == 1 else None
    )
    assert collect() == 0


@pytest.mark.parametrize("value", ["soon", "-1", "nan", "1e400", "", "Fri, 99 Foo", "\xf0\x9f"])
def test_a_rest_that_is_none_is_waited_for_as_if_nothing_was_said(models, collect, monkeypatch, value):
    monkeypatch.setattr("pointsman.traffic.asking._WAITS_S", (0.01,))
    models.cloud.failing = lambda number: (
        refused(429, "slow down", f"retry-after: {value}\r\n") if number == 1 else None
    )
    assert collect() == 0


def test_an_account_without_money_stops_at_once_and_what_is_in_flight_is_kept(models, collect, capsys):
    error = {"error": {"message": "pay first", "code": "insufficient_quota"}}
    models.cloud.failing = lambda number: whole(json.dumps(error).encode(), 429) if number > 5 else None
    assert collect() == 7
    assert "pay first" in capsys.readouterr().err
    assert len(models.cloud.seen) <= 9
    assert answers("cloud") == 5
    assert answers("local") == len(models.local.seen)


def test_an_endpoint_that_refuses_every_call_is_given_up_and_one_call_is_the_rows_own(
    models, collect, capsys
):
    models.cloud.failing = lambda number: refused(400, "no such parameter")
    assert collect() == 7
    assert "failures in a row" in capsys.readouterr().err
    assert len(models.cloud.seen) <= 14
    assert answers("local") == len(models.local.seen)


def test_a_key_that_the_endpoint_repeats_is_not_shown(models, collect, capsys, monkeypatch):
    monkeypatch.setenv("CLOUD_KEY", "uk-canary-4711")
    Path("gateway.toml").write_text(models.config('api_key_env = "CLOUD_KEY"'))
    models.cloud.failing = lambda number: refused(401, "wrong key: uk-canary-4711")
    assert collect() == 7
    said = capsys.readouterr()
    assert "uk-canary-4711" not in said.err + said.out
    assert "wrong key" in said.err


def test_headers_of_an_upstream_are_sent_and_another_protocol_is_refused(models, collect, capsys):
    Path("gateway.toml").write_text(models.config('headers = { "x-team" = "blue" }'))
    assert collect() == 0
    assert models.cloud.wires[-1].headers["x-team"] == "blue"
    Path("gateway.toml").write_text(models.config('api = "anthropic"'))
    assert collect("--output", "other") == 2
    assert "upstreams.cloud.api" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["", "  ", None])
def test_a_reference_that_is_missing_is_counted_and_zero_is_one(models, collect, judge, capsys, value):
    first, second = log_of(2)
    lines = [{"query": first, "right": value}, {"query": second, "right": 0}]
    Path("log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    models.judge.says = lambda text: "VERDICT: CORRECT"
    assert collect() == 0
    assert judge("--mode", "reference", "--expected", "right") == 0
    assert "1 rows without scores: no value in 'right'" in capsys.readouterr().out
    assert [row["query"] for row in rows()] == [second]
    assert judge("--mode", "reference", "--expected", "wrong", "--again") == 2
    assert "no collected row has that column" in capsys.readouterr().err


def test_captured_answers_are_not_paid_again_and_feedback_is_a_verdict(models, judge, capsys):
    from pointsman.cli.__main__ import main

    def said(text: str) -> dict:
        return {"text": text, "model": "m", "tokens_in": 10, "tokens_out": 20, "seconds": 0.5, "cost": 0.1}

    log = log_of(3)
    chats = [[{"role": "user", "content": query}] for query in log]
    pair = {"local": said("one"), "cloud": said("two")}
    lines = [
        {"request_id": "a", "messages": chats[0], "answers": pair},
        {"request_id": "b", "messages": chats[1]},
        {"request_id": "b", "target": "cloud"},
        {"request_id": "a", "target": "local"},
        {"request_id": "unknown", "target": "local"},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    Path("capture.jsonl").write_text(text + '{"request_id": "c", "me')
    command = ["collect", "--from-capture", "capture.jsonl", "--config", "gateway.toml", "--output", "work"]
    assert main([*command, "--yes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bad_rows"] == 1
    assert models.cloud.seen == models.local.seen == [log[1]]
    assert judge() == 0
    found = [(row["query"], row["weak_score"], row["strong_score"]) for row in rows()]
    assert found == [(log[0], 1, 1), (log[1], 0, 1)]
    assert rows()[0]["cloud"]["cost"] == 0.1


def test_a_captured_file_is_read_with_those_beside_it_and_users_are_counted(models, judge, capsys):
    from pointsman.cli.__main__ import main

    log = log_of(5)
    said = {
        "capture.jsonl.1": [("a", 0, "local")],
        "capture.jsonl": [
            ("b", 1, "local"),
            ("c", 2, "cloud"),
            ("d", 3, "local"),
            ("e", 3, "local"),
            ("f", 4, "local"),
        ],
    }
    for name, chats in said.items():
        found = [
            {"request_id": row, "served": by, "messages": [{"role": "user", "content": log[at]}]}
            for row, at, by in chats
        ]
        Path(name).write_text("".join(json.dumps(row) + "\n" for row in found))
    feedback = [
        {"request_id": "a", "score": 0.4},
        {"request_id": "b", "score": 0.5},
        {"request_id": "c", "score": 0.0},  # of the cloud's answer: it says nothing of the local one
        {"request_id": "d", "target": "local"},
        {"request_id": "e", "target": "cloud"},
        {"request_id": "f", "target": "cloud"},
        {"request_id": "f", "target": "local"},
    ]
    Path("capture.feedback.jsonl").write_text("".join(json.dumps(row) + "\n" for row in feedback))
    command = ["collect", "--from-capture", "capture.jsonl", "--config", "gateway.toml", "--output", "work"]
    assert main([*command, "--yes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bad_rows"] == 0
    assert judge() == 0
    by_users = {row["query"]: row["weak_score"] for row in rows() if row["judgement"].get("by") == "person"}
    assert by_users == {log[0]: 0, log[1]: 1, log[3]: 0, log[4]: 1}
    assert main([*command[:2], "nowhere.jsonl", *command[3:], "--yes"]) != 0
    assert "no captured file" in capsys.readouterr().err


def test_an_address_of_a_judge_without_a_scheme_is_refused_before_anything_is_asked(
    models, collect, judge, capsys
):
    assert collect() == 0
    assert judge("--judge-url", models.judge_url.removeprefix("http://")) == 2
    assert "expected http:// or https://" in capsys.readouterr().err
