"""What a rule or a redaction keeps is sent to no model and no judge, in whatever form it stands."""

import json
from pathlib import Path

import pytest
from tests.support.fake_models import log_of
from tests.traffic.conftest import rows, write_log

PRIVATE = '[[routing.rules]]\nname = "pay"\nsend = "local-only"\nkeywords = ["payroll"]\n'
REDACT = "[capture]\nredact = ['\\b\\d{3}-\\d{2}-\\d{4}\\b']\n"
FORMS = [
    "payroll of bob",
    "PAYROLL",
    "the ｐａｙｒｏｌｌ file",
    "pay\u200broll",
    "see payroll, please",
    "cGF5cm9sbCBvZiBib2I=",
]
SSN, HIDDEN = "123-45-6789", "MTIzLTQ1LTY3ODk="


def heard(models) -> str:
    return "\n".join(models.local.seen + models.cloud.seen + models.judge.seen)


def chat(*turns: str) -> dict:
    roles = ("user", "assistant") * len(turns)
    return {"messages": [{"role": role, "content": turn} for role, turn in zip(roles, turns, strict=False)]}


def write_rows_of(lines: list[dict]) -> None:
    Path("log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def test_a_rows_text_goes_nowhere_wherever_it_stands(models, collect, judge, capsys):
    Path("gateway.toml").write_text(models.config(PRIVATE))
    parts = [{"type": "text", "text": "the pay"}, {"type": "text", "text": "roll of bob"}]
    private = [
        *({"query": text} for text in FORMS),
        chat("payroll of bob", "noted", "and now?"),
        chat("hello", "your payroll?", "yes"),
        {"messages": [{"role": "system", "content": "payroll desk"}, {"role": "user", "content": "hi"}]},
        {"messages": [{"role": "user", "content": parts}]},
        {"messages": json.dumps(chat("payroll, as text")["messages"])},
    ]
    write_rows_of([*private, *({"query": query} for query in log_of(4))])
    assert collect("--json") == 0
    assert json.loads(capsys.readouterr().out)["withheld"] == len(private)
    assert judge() == 0
    assert len(models.cloud.seen) == len(models.local.seen) == 4
    assert "payroll" not in heard(models)


@pytest.mark.parametrize(
    ("rule", "row"),
    [
        ('has_tools = true\nsend = "local-only"', {"tools": [{"type": "function"}]}),
        ('has_tools = true\nsend = "local-only"', {"functions": [{"name": "f"}]}),
        ('tag = "hr"\nsend = "local-only"', {"tags": ["hr", "x"]}),
        ('tag = "hr"\nsend = "local-only"', {"tags": "x, hr"}),
        ('min_chars = 50\nsend = "local-only"', {"query": "secret " + "long " * 20}),
        ('keywords = ["secret"]\nsend = "cloud-only"', {}),
    ],
)
def test_what_binds_a_request_to_one_model_binds_its_row(models, collect, rule, row):
    Path("gateway.toml").write_text(models.config(f'[[routing.rules]]\nname = "r"\n{rule}\n'))
    write_rows_of([{"query": "secret question", **row}, {"query": "add two"}])
    assert collect() == 0
    assert models.cloud.seen == models.local.seen == ["add two"]


def test_a_system_message_of_ones_own_is_read_by_the_rules(models, collect, capsys):
    Path("gateway.toml").write_text(models.config(PRIVATE))
    Path("system.txt").write_text("You are the payroll desk.")
    assert collect("--system", "system.txt") == 0
    assert models.cloud.seen == models.local.seen == []
    assert "30 rows are sent to no model" in capsys.readouterr().err


def test_a_rule_that_came_later_holds_for_what_the_folder_knows_already(models, collect, judge):
    write_log(["payroll of bob", *log_of(2)])
    assert collect("--dry-run", agreed=False) == 0
    Path("gateway.toml").write_text(models.config(PRIVATE))
    assert collect() == 0
    assert judge() == 0
    assert "payroll" not in heard(models)
    Path("gateway.toml").write_text(models.config())
    assert collect() == 0
    models.judge.seen.clear()
    Path("gateway.toml").write_text(models.config(PRIVATE))
    assert collect() == 0
    assert judge() == 0
    assert not any("payroll" in text for text in models.judge.seen)


def test_what_is_redacted_is_cut_out_and_what_cannot_be_cut_is_withheld(models, collect, judge, capsys):
    Path("gateway.toml").write_text(models.config(REDACT))
    key = "sk-" + "a1B2" * 8
    named = {"role": "user", "name": SSN, "content": "add two to my name"}
    cut = [
        {"query": f"play {SSN} please"},
        {"query": f"use {key} please"},
        chat(f"I am {SSN}", "so?", "play"),
    ]
    kept = [{"query": f"play {HIDDEN} please"}, {"messages": [named]}]
    write_rows_of([*cut, *kept, {"query": "add two"}])
    assert collect("--json") == 0
    assert json.loads(capsys.readouterr().out)["withheld"] == len(kept)
    assert judge() == 0
    assert not any(word in heard(models) for word in (SSN, HIDDEN, key))
    assert "play [redacted] please" in models.cloud.seen
    assert len(rows()) == 4


def test_rows_that_are_alike_once_redacted_are_paid_once(models, collect, judge):
    Path("gateway.toml").write_text(models.config(REDACT))
    write_log([f"play {at:03d}-45-6789 please" for at in range(8)])
    assert collect() == 0
    assert judge() == 0
    assert len(models.cloud.seen) == len(models.local.seen) == 1
    assert len(rows()) == 8


def test_the_judge_is_told_no_answer_and_no_reference_that_a_rule_keeps(models, collect, judge, capsys):
    Path("gateway.toml").write_text(models.config(PRIVATE + REDACT))
    log = log_of(4)
    references = ["payroll of bob", f"number {SSN}", HIDDEN, "nothing"]
    write_rows_of([{"query": q, "right": right} for q, right in zip(log, references, strict=True)])
    models.local.says = lambda text: f"the payroll of {text}" if text == log[3] else f"ask {SSN}: {text}"
    models.judge.says = lambda text: "VERDICT: CORRECT"
    assert collect() == 0
    assert judge("--mode", "reference", "--expected", "right") == 0
    assert (
        "3 rows without scores: a rule or a redaction keeps its text from the judge"
        in capsys.readouterr().out
    )
    assert [row["query"] for row in rows()] == [log[1]]
    assert not any(word in text for text in models.judge.seen for word in ("payroll", SSN, HIDDEN))
    assert "number [redacted]" in "".join(models.judge.seen)
