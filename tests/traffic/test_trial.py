"""An endpoint that gives nothing usable is found out by a few calls, and not paid for all of them."""

import json
from pathlib import Path

import pytest
from tests.support.fake_models import judge_says, log_of, refused
from tests.support.openai_messages import completion, whole
from tests.traffic.conftest import rows, write_log

from pointsman.cli.__main__ import main

QUERIES, AT_ONCE = 34, 4
BABBLE = {
    "babbles": "Both have merits.",
    "says both": "VERDICT: A\nVERDICT: B",
    "empty": "",
    "long": "on and on " * 500,
}


@pytest.fixture
def collected(models, collect):
    write_log(log_of(QUERIES))
    assert collect("--concurrency", "16") == 0
    return models


@pytest.mark.parametrize("how", BABBLE)
def test_a_judge_without_a_verdict_stops_after_sixteen_queries_and_goes_on_when_mended(
    collected, judge, capsys, how
):
    collected.judge.says = lambda text: BABBLE[how]
    assert judge() == 2
    said = capsys.readouterr().err
    assert len(collected.judge.seen) == 16 * 2 * 2
    found = BABBLE[how][:100]
    assert repr(found)[1:-1] in said
    for part in ("VERDICT: A", "VERDICT: TIE", "--show-prompt", "16 queries"):
        assert part in said
    assert "Traceback" not in said and len(said) < 3000
    collected.judge.says = judge_says
    assert judge() == 0
    assert len(rows()) == QUERIES
    assert len(collected.judge.seen) == 64 + 2 * QUERIES


def test_a_reference_judge_is_told_what_its_verdict_has_to_be(models, collect, judge, capsys):
    write_log(log_of(QUERIES), right="x")
    assert collect("--concurrency", "16") == 0
    models.judge.says = lambda text: "VERDICT: TIE"
    assert judge("--mode", "reference", "--expected", "right") == 2
    assert "VERDICT: INCORRECT" in capsys.readouterr().err
    assert len(models.judge.seen) == 64


def test_what_a_useless_judge_has_cost_counts_for_the_budget(collected, judge, capsys):
    priced = ("--judge-price-in", "1", "--judge-price-out", "4")
    collected.judge.says = lambda text: "Both."
    assert judge(*priced) == 2
    collected.judge.says = judge_says
    assert judge(*priced, "--budget", "0.15") == 7
    assert len(collected.judge.seen) == 64
    assert judge(*priced, "--json") == 0
    facts = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert facts["spent"] == pytest.approx((64 + 2 * QUERIES) * 0.003)


def test_a_judges_key_in_its_reply_is_not_shown(collected, judge, capsys, monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", "uk-canary-4711")
    collected.judge.says = lambda text: "wrong key uk-canary-4711"
    assert judge("--judge-key-env", "JUDGE_KEY") == 2
    said = capsys.readouterr()
    assert "uk-canary-4711" not in said.err + said.out
    assert "[key]" in said.err


def test_a_reply_that_the_limit_of_tokens_cut_is_said(collected, judge, capsys):
    cut = json.loads(completion("Let me think"))
    cut["choices"][0]["finish_reason"] = "length"
    collected.judge.failing = lambda number: whole(json.dumps(cut).encode())
    assert judge() == 2
    assert "finish_reason 'length'" in capsys.readouterr().err


def test_one_verdict_in_the_trial_is_enough_to_go_on(collected, judge, capsys):
    only = log_of(QUERIES)[0]
    collected.judge.says = lambda text: judge_says(text) if only in text else "Both have merits."
    assert judge() == 0
    assert len(rows()) == 1
    said = capsys.readouterr()
    assert f"{2 * QUERIES - 2} replies had no verdict" in said.out
    assert "'Both have merits.'" in said.err


def test_a_judge_that_gives_its_verdict_only_when_asked_again_is_used(collected, judge):
    collected.judge.says = lambda text: "VERDICT: TIE" if "verdict line" in text else "Both."
    assert judge() == 0
    assert len(rows()) == QUERIES


def test_second_tries_that_fail_are_asked_again(collected, judge):
    """A judge that gives its verdict only when asked again, and is busy now and then."""
    collected.judge.says = lambda text: "VERDICT: TIE" if "verdict line" in text else "Both."
    collected.judge.failing = lambda number: (
        refused(400, "busy") if number % 3 and "verdict line" in collected.judge.seen[number - 1] else None
    )
    assert judge("--concurrency", "1") == 7
    collected.judge.failing = lambda number: None
    assert judge() == 0
    assert len(rows()) == QUERIES
    assert len(collected.judge.seen) <= 2 * 2 * QUERIES + 2 * QUERIES


def test_after_a_resume_that_has_verdicts_nothing_stops_it(collected, judge):
    collected.judge.failing = lambda number: refused(401) if number > 20 else None
    assert judge("--concurrency", "1") == 7
    collected.judge.failing = lambda number: None
    collected.judge.says = lambda text: "Both have merits."
    assert judge() == 0
    assert len(collected.judge.seen) == 21 + 2 * (2 * QUERIES - 20)


@pytest.mark.parametrize("status", [429, 500, 400])
def test_failures_and_rate_limits_are_no_replies(collected, judge, capsys, status, monkeypatch):
    monkeypatch.setattr("pointsman.traffic.asking._WAITS_S", (0.001,))
    collected.judge.failing = lambda number: refused(status, "busy") if number % 5 == 1 else None
    assert judge("--concurrency", "1") in (0, 7)
    assert rows()
    assert "no reply" not in capsys.readouterr().err


def test_a_budget_that_ends_in_the_trial_is_the_reason_that_is_given(collected, judge, capsys):
    collected.judge.says = lambda text: "Both."
    assert judge("--judge-price-in", "1", "--judge-price-out", "4", "--budget", "0.01") == 7
    said = capsys.readouterr().err
    assert "stopped at the budget" in said and "no reply" not in said


def test_few_rows_without_a_verdict_are_counted_and_a_reply_is_shown(models, collect, judge, capsys):
    write_log(log_of(5))
    models.judge.says = lambda text: "Both have merits."
    assert collect() == 0
    assert judge() == 0
    said = capsys.readouterr()
    assert "10 replies had no verdict" in said.out
    assert "'Both have merits.'" in said.err and "--show-prompt" in said.err
    assert rows() == []


def test_replies_without_a_verdict_are_asked_anew_when_wished(models, collect, judge):
    write_log(log_of(5))
    models.judge.says = lambda text: "Both have merits."
    assert collect() == 0
    assert judge() == 0
    models.judge.says = judge_says
    assert judge() == 0
    assert rows() == []
    assert judge("--again") == 0
    assert len(rows()) == 5
    assert len(models.judge.seen) == 30


def message(**members: object) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", **members}, "finish_reason": "stop"}
    return whole(json.dumps({"id": "1", "object": "chat.completion", "choices": [choice]}).encode())


USELESS = {
    "empty": message(content=""),
    "null": message(content=None),
    "white space": message(content=" \n\t"),
    "refusal": message(content=None, refusal="I can't help with that."),
}


@pytest.mark.parametrize(("side", "how"), list(zip(["local", "cloud"] * 2, USELESS, strict=True)))
def test_a_model_that_says_nothing_is_found_out_and_the_same_command_asks_anew(
    models, collect, judge, capsys, side, how
):
    write_log(log_of(QUERIES))
    model = getattr(models, side)
    model.failing = lambda number: USELESS[how]
    assert collect() == 7
    assert len(model.seen) <= 16 + AT_ONCE
    said = capsys.readouterr().err
    assert "the first 16 answers" in said and "--max-tokens" in said and model_name(side) in said
    model.failing = lambda number: None
    assert collect() == 0
    assert judge() == 0
    assert len(rows()) == QUERIES
    assert len(model.seen) <= 16 + AT_ONCE + QUERIES


def model_name(side: str) -> str:
    return {"local": "small", "cloud": "large"}[side]


def test_a_model_that_says_nothing_now_and_then_is_not_stopped(models, collect):
    write_log(log_of(QUERIES))
    models.local.failing = lambda number: None if number % 16 == 1 else USELESS["empty"]
    assert collect("--concurrency", "1") == 0
    assert len(models.local.seen) == QUERIES


def test_a_log_that_begins_with_what_is_refused_is_not_stopped(models, collect):
    log = log_of(QUERIES)
    write_log(log)
    models.cloud.failing = lambda number: (
        USELESS["refusal"] if models.cloud.seen[number - 1] in log[:25] else None
    )
    assert collect("--concurrency", "1") == 0


def test_after_a_resume_that_has_answers_nothing_stops_it(models, collect):
    write_log(log_of(QUERIES))
    models.cloud.failing = lambda number: refused(401) if number > 2 else None
    assert collect("--concurrency", "1") == 7
    models.cloud.failing = lambda number: USELESS["empty"]
    assert collect() == 0


@pytest.mark.parametrize("status", [400, 404, 422, 500])
def test_a_model_that_fails_every_call_is_given_up_early(models, collect, capsys, status):
    write_log(log_of(QUERIES))
    models.cloud.failing = lambda number: refused(status, "no", "retry-after-ms: 1\r\n")
    assert collect("--concurrency", "1") == 7
    assert len(models.cloud.seen) <= 10 * 5
    assert len(models.local.seen) <= 16
    assert f"status {status}" in capsys.readouterr().err


def test_errors_among_empty_answers_do_not_hide_them(models, collect, capsys):
    write_log(log_of(QUERIES))
    models.cloud.failing = lambda number: refused(400, "no") if number % 2 else USELESS["empty"]
    assert collect("--concurrency", "1") == 7
    assert len(models.cloud.seen) <= 34
    assert "the first 16 answers" in capsys.readouterr().err


def test_calls_of_a_tool_are_answers(models, collect):
    write_log(log_of(QUERIES))
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    models.cloud.failing = lambda number: message(content=None, tool_calls=[call])
    assert collect() == 0
    assert main(["judge", "work", *models.judging(), "--yes"]) == 0
    assert any("f(" in text for text in models.judge.seen)


def test_the_file_of_rows_is_not_touched_by_a_judge_that_is_stopped(collected, judge):
    assert judge() == 0
    before = Path("work/judged.jsonl").read_bytes()
    Path("rubric.txt").write_text("Answer in JSON only.")
    collected.judge.says = lambda text: '{"winner": "A"}'
    assert judge("--rubric", "rubric.txt") == 2
    assert Path("work/judged.jsonl").read_bytes() == before
