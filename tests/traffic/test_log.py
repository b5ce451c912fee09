"""Logs as people have them: what each row is sent as, and what is counted as one query."""

import json
from pathlib import Path

import pytest
from tests.support.fake_models import log_of
from tests.support.openai_messages import completion, whole
from tests.traffic.conftest import rows, write_log

from pointsman.cli.__main__ import main

TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}},
}
COMMON = ["--column", "body", "--config", "gateway.toml", "--output", "work", "--yes"]
USER = {"role": "user", "content": "will it rain"}


def write_rows(*lines: dict) -> None:
    Path("log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def sent(model) -> list[dict]:
    return [{k: v for k, v in wire.json.items() if k != "model"} for wire in model.wires]


def test_a_file_that_is_not_utf_8_is_said_to_be_none(models, capsys):
    Path("log.csv").write_bytes("body\nwo ist mein Schlüssel\n".encode("cp1252"))
    assert main(["collect", "log.csv", *COMMON]) == 2
    assert "log.csv:2" in (said := capsys.readouterr().err) and "UTF-8" in said


@pytest.mark.parametrize("name", ["empty.csv", "head.csv"])
def test_a_file_without_rows_is_said_to_be_empty(models, capsys, name):
    Path(name).write_text("" if name == "empty.csv" else "body\n")
    assert main(["collect", name, *COMMON]) == 2
    assert "there are no rows" in capsys.readouterr().err


def test_the_answer_that_was_logged_is_not_sent(models, collect):
    write_rows(
        {"messages": [USER, {"role": "assistant", "content": "yes"}]},
        {"messages": [USER, {"role": "assistant", "content": "where?"}, {"role": "user", "content": "here"}]},
        {"messages": [{"role": "assistant", "content": "hello"}]},
    )
    assert collect("--concurrency", "1") == 0
    assert [body["messages"][-1]["role"] for body in sent(models.cloud)] == ["user", "user"]
    assert len(sent(models.cloud)[0]["messages"]) == 1


def test_only_equal_chats_are_one_query(models, collect):
    def picture(name: str) -> dict:
        parts = [{"type": "text", "text": "what is this"}, {"type": "image_url", "image_url": {"url": name}}]
        return {"messages": [{"role": "user", "content": parts}]}

    def system(text: str) -> dict:
        return {"messages": [{"role": "system", "content": text}, USER]}

    write_rows(
        picture("data:image/png;base64,AAAA"),
        picture("data:image/png;base64,BBBB"),
        picture("data:image/png;base64,AAAA"),
        system("answer in French"),
        system("answer in German"),
        system("answer  in French!"),
        {"query": "will it rain"},
        {"messages": [USER], "tools": [TOOL]},
        {"messages": [USER], "tools": [TOOL]},
        {"messages": [USER], "response_format": {"type": "json_object"}},
    )
    assert collect() == 0
    assert len(models.cloud.seen) == 7


@pytest.mark.parametrize("where", ["system", "template"])
def test_queries_that_begin_alike_are_not_one(models, collect, where):
    """A template or a system message of any length before every query."""
    long = "You are a careful assistant of a large shop and answer in one sentence. " * 20
    log = log_of(4)
    if where == "system":
        system = {"role": "system", "content": long}
        write_rows(*({"messages": [system, {"role": "user", "content": query}]} for query in log))
    else:
        write_log([long + query for query in [*log, log[0]]])
    assert collect() == 0
    assert len(models.cloud.seen) == 4


def test_a_long_system_message_of_ones_own_merges_nothing(models, collect):
    Path("system.txt").write_text("Answer with care. " * 100)
    write_log([*log_of(4), f"{log_of(4)[0]}!"])
    assert collect("--system", "system.txt") == 0
    assert len(models.cloud.seen) == 4


def test_a_table_of_chats_is_sent_without_the_nulls_of_other_rows(models, collect):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    chats = [
        [{"role": "user", "content": [{"type": "text", "text": "what is this"}, picture]}],
        [
            {"role": "user", "content": [{"type": "text", "text": "and now"}], "name": "ann"},
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "content": [{"type": "text", "text": "42"}], "tool_call_id": "a"},
        ],
    ]
    parquet.write_table(pyarrow.Table.from_pylist([{"messages": chat} for chat in chats]), "log.parquet")
    assert main(["collect", "log.parquet", *COMMON, "--concurrency", "1"]) == 0
    assert [body["messages"] for body in sent(models.cloud)] == chats


OPTIONS = {
    "tools": [TOOL],
    "tool_choice": "auto",
    "parallel_tool_calls": False,
    "response_format": {"type": "json_object"},
}


@pytest.mark.parametrize("kind", ["values", "texts"])
def test_what_a_chat_offered_is_sent_on(models, collect, capsys, kind):
    given = {k: json.dumps(v) if kind == "texts" and k != "tool_choice" else v for k, v in OPTIONS.items()}
    write_rows({"messages": [USER], **given}, {"query": log_of(1)[0]})
    assert collect() == 0
    for model in (models.local, models.cloud):
        assert {"messages": [USER], **OPTIONS} in sent(model)
        assert {"messages": [{"role": "user", "content": log_of(1)[0]}]} in sent(model)
    assert "1 queries offer tools" in capsys.readouterr().err


@pytest.mark.parametrize(
    "columns",
    [
        {"tools": "hammer, saw"},
        {"tools": ""},
        {"tools": None},
        {"tools": []},
        {"tools": ["hammer"]},
        {"tools": [{"id": 7}]},
        {"tools": {"a": 1}},
        {"tool_choice": "auto"},
        {"functions": 7},
        {"response_format": "A4"},
        {"parallel_tool_calls": True},
        {"tools": "[not json"},
    ],
)
def test_a_column_of_that_name_that_is_none_is_not_sent(models, collect, columns):
    write_log(log_of(2), **columns)
    assert collect() == 0
    assert all(body.keys() == {"messages"} for body in sent(models.cloud))


PRIVATE = '[[routing.rules]]\nname = "pay"\nsend = "local-only"\nkeywords = ["payroll"]\n'
REDACT = "[capture]\nredact = ['\\b\\d{3}-\\d{2}-\\d{4}\\b']\n"


@pytest.mark.parametrize("extra", [PRIVATE, REDACT])
def test_a_tool_is_read_by_the_rules_and_redactions(models, collect, judge, extra, capsys):
    Path("gateway.toml").write_text(models.config(extra))
    function = {**TOOL["function"], "description": "look at payroll 123-45-6789"}
    write_rows({"messages": [USER], "tools": [{"type": "function", "function": function}]}, {"query": "hi"})
    assert collect() == 0
    assert "1 rows are sent to no model" in capsys.readouterr().err
    assert len(models.cloud.seen) == len(models.local.seen) == 1
    assert judge() == 0
    heard = "".join(json.dumps(body) for m in (models.local, models.cloud, models.judge) for body in sent(m))
    assert "payroll" not in heard and "123-45-6789" not in heard


def test_the_judge_sees_the_tools_and_the_calls(models, collect, judge):
    write_rows({"messages": [USER], "tools": [TOOL]})
    call = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": '{"day": 1}'}}
    reply = json.loads(completion(""))
    reply["choices"][0]["message"] |= {"content": None, "tool_calls": [call]}
    models.cloud.failing = lambda number: whole(json.dumps(reply).encode())
    assert collect() == 0
    assert judge() == 0
    assert '"name": "weather"' in models.judge.seen[0]
    assert '[call of weather({"day": 1})]' in models.judge.seen[0]
    assert len(rows()) == 1


def test_tools_that_were_not_captured_are_counted(models, capsys):
    write_rows(
        {"request_id": "a", "messages": [USER], "tools_left_out": 2},
        {"request_id": "b", "messages": [{"role": "user", "content": "hi"}], "tools": [TOOL]},
    )
    words = ["collect", "--from-capture", "log.jsonl", "--config", "gateway.toml", "--output", "work"]
    assert main([*words, "--yes", "--json"]) == 0
    said = capsys.readouterr()
    assert "1 chats offered tools that were not captured; they are asked without" in said.err
    facts = json.loads(said.out)
    assert (facts["with_tools"], facts["tools_left_out"]) == (1, 1)
    offered = [body.get("tools") for body in sent(models.cloud)]
    assert len(offered) == 2 and None in offered and [TOOL] in offered


def test_a_price_of_one_kind_alone_is_pointed_out(models, collect, capsys):
    Path("gateway.toml").write_text(models.config(prices="price_in = 1.0"))
    assert collect("--dry-run") == 0
    assert "upstreams.cloud.price_out is not set, and counts as 0" in capsys.readouterr().err
