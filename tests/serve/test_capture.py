"""What is written of chats and feedback: everything that may be, whole lines only, and nothing private."""

import base64
import html
import json
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.fake_upstream import DONE, FakeUpstream, delta, stream
from tests.support.keyword_forms import KEYWORDS, positives
from tests.support.running import Running, settings_for
from tests.support.tiny_artifact import CLOUD_TEXT

from pointsman.errors import SettingsError
from pointsman.serve.capture import capture as capturing
from pointsman.serve.capture.capture import LineFile
from pointsman.serve.capture.redaction import REDACTED, Redaction, text_messages
from pointsman.serve.gateway import build
from pointsman.serve.observability.history import History
from pointsman.serve.routing import decoding
from pointsman.serve.routing.request_text import RequestText
from pointsman.serve.routing.rules import compile_rules, first_match
from pointsman.serve.settings import Rule

Both = Callable[..., Running]
CLIENT_KEY, OTHER_KEY, UPSTREAM_KEY = (
    "c1d2e3f405" * 4 + "ab7x",
    "d7a9b8c605" * 4 + "21fy",
    "uk-" + "83fa07c5" * 5,
)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def written(gateway: Running) -> None:
    """Wait until what was taken is in the file."""
    gateway.settle()
    assert gateway.gateway.capture is not None
    gateway.gateway.capture._thread.submit(lambda: None).result(60)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "capture.jsonl"


def test_chats_of_every_protocol_are_written_for_their_owner_alone(both: Both, path: Path) -> None:
    gateway = both(capture={"path": str(path)}, upstream={"api": "both"})
    asked = gateway.chat(CLOUD_TEXT, stream=False)
    told = [{"role": "system", "content": "be short"}, {"role": "user", "content": "plan"}]
    gateway.chat(messages=told)
    gateway.http.post("/v1/completions", json={"model": "local", "prompt": "complete this"})
    parts = [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]
    items = [{"role": "user", "content": parts}]
    gateway.http.post("/v1/responses", json={"model": "local", "instructions": "obey", "input": items})
    body = {
        "model": "local",
        "max_tokens": 5,
        "system": "sys",
        "messages": [{"role": "user", "content": "hi"}],
    }
    gateway.http.post("/v1/messages", json=body)
    gateway.http.post("/v1/messages/count_tokens", json=body)
    written(gateway)
    found = rows(path)
    assert [row["messages"] for row in found] == [
        [{"role": "user", "content": CLOUD_TEXT}],
        told,
        [{"role": "user", "content": "complete this"}],
        [{"role": "system", "content": "obey"}, {"role": "user", "content": "a\nb"}],
        [{"role": "system", "content": "sys"}, {"role": "user", "content": "hi"}],
    ]
    first = found[0]
    assert (first["target"], first["served"], first["reason"]) == ("cloud", "cloud", "model")
    assert first["p_cloud"] == pytest.approx(float(asked.headers["x-pointsman-p-cloud"]), abs=1e-4)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert 'pointsman_captured_chats_total{outcome="written"} 5.0' in gateway.admin.get("/metrics").text


FUNCTION = {"name": "weather", "description": "of a day", "parameters": {"type": "object"}}
CHAT_TOOL = {"type": "function", "function": FUNCTION}


def test_what_a_chat_offers_is_written_so_that_it_can_be_asked_again(both: Both, path: Path) -> None:
    gateway = both(capture={"path": str(path)}, upstream={"api": "both"})
    options = {
        "tools": [CHAT_TOOL],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "response_format": {"type": "json_object"},
    }
    gateway.chat("one", **options, temperature=0.3)
    hosted = {"type": "web_search"}
    flat = {"type": "function", **FUNCTION}
    gateway.http.post("/v1/responses", json={"model": "local", "input": "two", "tools": [flat, hosted]})
    schema = {k: v for k, v in FUNCTION.items() if k != "parameters"} | {"input_schema": {"type": "object"}}
    body = {"model": "local", "max_tokens": 5, "messages": [{"role": "user", "content": "three"}]}
    gateway.http.post("/v1/messages", json={**body, "tools": [schema], "tool_choice": {"type": "auto"}})
    gateway.chat("four", tools=[], tool_choice="none")
    written(gateway)
    names = (
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "tools_left_out",
        "temperature",
    )
    found = [{name: row[name] for name in names if name in row} for row in rows(path)]
    assert found == [options, {"tools": [CHAT_TOOL], "tools_left_out": 1}, {"tools": [CHAT_TOOL]}, {}]


def test_a_tool_is_redacted_or_its_chat_is_left_out(both: Both, path: Path) -> None:
    gateway = both(capture={"path": str(path), "redact": [r"\b\d{3}-\d{2}-\d{4}\b"]})
    for told in ("of 123-45-6789", "of MTIzLTQ1LTY3ODk=", "of sk-" + "a1B2c3D4" * 5):
        gateway.chat("hi", tools=[{"type": "function", "function": {**FUNCTION, "description": told}}])
    gateway.chat("hi", tools=[{"type": "function", "function": {**FUNCTION, "name": "123-45-6789"}}])
    properties = {"type": "object", "properties": {"123-45-6789": {"type": "string"}}}
    gateway.chat("hi", tools=[{"type": "function", "function": {**FUNCTION, "parameters": properties}}])
    written(gateway)
    found = [row["tools"][0]["function"] for row in rows(path)]
    assert [function["description"] for function in found] == ["of [redacted]", "of [redacted]", "of a day"]
    assert found[2]["name"] == "[redacted]"
    text = path.read_text()
    assert "123-45-6789" not in text and "sk-a1B2" not in text and "MTIzLTQ1LTY3ODk" not in text


def test_a_private_tool_is_not_written(both: Both, path: Path) -> None:
    rule = {"name": "pay", "send": "local-only", "keywords": ["payroll"]}
    gateway = both(capture={"path": str(path)}, routing={"rules": [rule]})
    tool = {"type": "function", "function": {**FUNCTION, "description": "the payroll of a person"}}
    gateway.chat("hi", tools=[tool])
    written(gateway)
    assert rows(path) == []


def test_nothing_is_written_by_default_or_of_what_no_user_asked(both: Both, path: Path, cloud: Any) -> None:
    off = both()
    off.chat()
    assert off.http.post("/v1/feedback", json={"request_id": "a", "target": "local"}).status_code == 404
    gateway = both(capture={"path": str(path)}, routing={"embeddings": "cloud"})
    gateway.http.post("/v1/embeddings", json={"model": "e", "input": "vectors"})
    gateway.chat("### Task:\nGenerate a concise, 3-5 word title\n<chat_history>\nplan\n</chat_history>")
    gateway.chat(
        messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x/"}}]}]
    )
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    gateway.chat(messages=[{"role": "assistant", "tool_calls": calls}, {"role": "user", "content": "plan"}])
    cloud.script = lambda wire: wire.reset()
    gateway.chat(model="cloud")
    written(gateway)
    assert rows(path) == []


def test_no_form_of_a_private_text_is_written(both: Both, path: Path) -> None:
    rules = [{"name": "private", "send": "local-only", "keywords": list(KEYWORDS)}]
    gateway = both(capture={"path": str(path)}, routing={"rules": rules, "sticky": True})
    for number, case in enumerate(positives(20260801, 150)):
        answer = gateway.http.post("/v1/chat/completions", json={**case.body, "model": "cloud"})
        assert answer.status_code == 200, case.name
        request_id = answer.headers["x-request-id"]
        if number % 10 == 0:
            body = {"request_id": request_id, "target": "cloud"}
            assert gateway.http.post("/v1/feedback", json=body).status_code == 202
    gateway.chat("bind me", headers={"x-pointsman-session": "s", "x-pointsman-policy": "local-only"})
    gateway.chat("and now", headers={"x-pointsman-session": "s"})
    gateway.chat("to the cloud only", headers={"x-pointsman-policy": "cloud-only"})
    written(gateway)
    assert rows(path) == []
    assert {"request_id", "time", "target"} == set().union(*rows(path.with_name("capture.feedback.jsonl")))


PATTERNS = (r"(?i)payroll", r"\d{3}-\d{2}-\d{4}", "工资", "John\\s+Smith")
TEXTS = ("payroll", "123-45-6789", "工资", "John Smith")
FORMS: dict[str, Callable[[str], str]] = {
    "as it is": lambda text: text,
    "full width": lambda text: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text),
    "zero width": lambda text: "\u200b".join(text),
    "base64": lambda text: base64.b64encode(f"see: {text} now, again".encode()).decode(),
    "entities": lambda text: "".join(f"&#{ord(c)};" for c in text),
    "escapes": lambda text: json.dumps(json.dumps(f"-- {text} --")),
    "element": lambda text: html.escape(f"<b>{text}</b>"),
    "a line break": lambda text: text.replace(" ", "\n"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("text", TEXTS)
def test_a_redaction_is_cut_out_or_the_chat_is_left_out(form: str, text: str) -> None:
    redaction = Redaction(PATTERNS)
    said = [{"role": "user", "content": f"please see {FORMS[form](text)} soon"}]
    kept = redaction.apply(said)
    rules = compile_rules([Rule(name=f"r{n}", send="local-only", pattern=p) for n, p in enumerate(PATTERNS)])
    assert first_match(rules, RequestText({"messages": said}, frozenset())) is not None
    assert kept is None or first_match(rules, RequestText({"messages": kept}, frozenset())) is None
    if form == "as it is":
        assert kept == [{"role": "user", "content": f"please see {REDACTED} soon"}]


def test_a_redaction_across_messages_and_parts_leaves_the_chat_out() -> None:
    redaction = Redaction([r"John\s+Smith"])
    across = [{"role": "user", "content": "I am John"}, {"role": "user", "content": "Smith of Ohio"}]
    assert redaction.apply(across) is None
    parts = [{"type": "text", "text": "John"}, {"type": "text", "text": "Smith"}]
    joined = text_messages([{"role": "user", "content": parts}])
    assert joined and REDACTED in redaction.apply(joined)[0]["content"]  # type: ignore[index]


@pytest.mark.parametrize("text", ["payroll", "123-45-6789", CLIENT_KEY, "sk-proj-" + "Ab3dE" * 8])
def test_a_redaction_that_goes_on_in_the_next_part_leaves_the_chat_out(text: str) -> None:
    redaction = Redaction(PATTERNS, [CLIENT_KEY])
    for cut in range(1, len(text)):
        pieces = (f"see {text[:cut]}", "", f"{text[cut:]} please")
        said = [{"role": "user", "content": [{"type": "text", "text": piece} for piece in pieces]}]
        plain = text_messages(said)
        kept = plain and redaction.apply(plain)
        assert kept is None or text not in "".join(kept[0]["content"].split("\n"))
    lines = text_messages([{"role": "user", "content": [{"type": "text", "text": "one"}] * 2}])
    assert lines and redaction.apply(lines) == [{"role": "user", "content": "one\none"}]


def test_a_chat_that_stands_for_more_than_can_be_read_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    said = [{"role": "user", "content": "%61%62%63" * 1000}]
    assert Redaction([]).apply(said) == said
    monkeypatch.setattr(decoding, "_MOST_CHARS", 1000)
    assert Redaction([]).apply(said) is None


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-Ab3" + "dEf9" * 8,
        "AKIA" + "ABCD1234" * 2,
        "ghp_" + "aB3" * 12,
        "xoxb-123456789012-abcdef",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\n-----END RSA PRIVATE KEY-----",
    ],
)
def test_a_key_in_a_text_is_redacted_without_being_named(secret: str) -> None:
    kept = Redaction([]).apply([{"role": "user", "content": f"use {secret} please"}])
    assert kept == [{"role": "user", "content": f"use {REDACTED} please"}]
    hidden = base64.b64encode(secret.encode()).decode()
    assert Redaction([]).apply([{"role": "user", "content": f"use {hidden} please"}]) is None


def test_keys_of_the_request_and_of_the_upstreams_are_not_written(both: Both, path: Path) -> None:
    gateway = both(
        capture={"path": str(path)}, auth={"keys": [CLIENT_KEY]}, upstream={"api_key": UPSTREAM_KEY}
    )
    for shown in ({"authorization": f"Bearer {CLIENT_KEY}"}, {"x-api-key": CLIENT_KEY}):
        gateway.chat(f"my key is {CLIENT_KEY} and theirs {UPSTREAM_KEY}", headers=shown)
    gateway.chat(base64.b64encode(f"it is {CLIENT_KEY}".encode()).decode(), headers=shown)
    written(gateway)
    assert [row["messages"][0]["content"] for row in rows(path)] == [
        f"my key is {REDACTED} and theirs {REDACTED}"
    ] * 2


@pytest.mark.parametrize("pattern", ["(?=x)", "(", ".*", "x?"])
def test_a_pattern_that_cannot_redact_is_refused(artifact: Path, pattern: str) -> None:
    with pytest.raises(SettingsError, match=r"capture\.redact"):
        settings_for(artifact, capture={"redact": [pattern]})


def test_feedback_is_strict_and_each_client_speaks_for_itself(both: Both, path: Path) -> None:
    keys = {"keys": [CLIENT_KEY, OTHER_KEY]}
    gateway = both(capture={"path": str(path)}, auth=keys)
    mine, other = ({"authorization": f"Bearer {key}"} for key in (CLIENT_KEY, OTHER_KEY))
    request_id = gateway.chat(headers=mine).headers["x-request-id"]

    def say(headers: dict[str, str], **body: Any) -> int:
        return gateway.http.post("/v1/feedback", json=body, headers=headers).status_code

    assert say(mine, request_id=request_id, target="cloud") == 202
    assert say(mine, request_id=request_id, score=0.25) == 202
    assert say(other, request_id=request_id, target="local") == 202
    assert say({}, request_id=request_id, target="local") == 401
    for wrong in (
        {},
        {"target": "local"},
        {"request_id": request_id},
        {"request_id": "", "target": "local"},
        {"request_id": "x" * 65, "target": "local"},
        {"request_id": 7, "target": "local"},
        {"request_id": request_id, "target": "both"},
        {"request_id": request_id, "target": None},
        {"request_id": request_id, "score": True},
        {"request_id": request_id, "score": 1.5},
        {"request_id": request_id, "score": "1"},
        {"request_id": request_id, "target": "local", "score": 1},
        {"request_id": request_id, "target": "local", "text": "secret"},
    ):
        assert say(mine, **wrong) == 400, wrong
    written(gateway)
    (chat,), said = rows(path), rows(path.with_name("capture.feedback.jsonl"))
    about = [{k: v for k, v in row.items() if k not in ("time", "request_id")} for row in said]
    assert about == [{"target": "cloud"}, {"score": 0.25}, {"target": "local"}]
    assert [row["request_id"] == chat["request_id"] for row in said] == [True, True, False]
    assert request_id not in path.read_text()


def test_a_share_is_the_same_for_a_chat_and_its_feedback(both: Both, path: Path) -> None:
    gateway = both(capture={"path": str(path), "share": 0.5})
    stored = {}
    for number in range(60):
        request_id = f"request-{number}"
        gateway.chat(f"plan {number}", headers={"x-request-id": request_id})
        said = gateway.http.post("/v1/feedback", json={"request_id": request_id, "target": "local"})
        stored[f"plan {number}"] = said.json()["stored"]
    written(gateway)
    assert {row["messages"][0]["content"] for row in rows(path)} == {
        text for text, is_in in stored.items() if is_in
    }
    assert 10 < sum(stored.values()) < 50


def test_a_disk_that_hangs_costs_rows_and_no_answer(
    both: Both, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = both(capture={"path": str(path)})
    gate = threading.Event()
    append = LineFile.append
    monkeypatch.setattr(LineFile, "append", lambda self, line: gate.wait(60) and append(self, line))
    monkeypatch.setattr(capturing, "_MOST_WAITING_BYTES", 20_000)
    answers = [gateway.chat(f"plan {number} " + "x" * 200) for number in range(20)]
    said = [{"request_id": answer.headers["x-request-id"], "score": 1} for answer in answers]
    told = [gateway.http.post("/v1/feedback", json=one).json()["stored"] for one in said]
    assert [answer.status_code for answer in answers] == [200] * 20 and told == [False] * 20
    gate.set()
    written(gateway)
    assert 0 < len(rows(path)) < 20
    assert gateway.http.post("/v1/feedback", json=said[0]).json()["stored"]
    written(gateway)
    text = gateway.admin.get("/metrics").text
    assert f'pointsman_captured_chats_total{{outcome="dropped"}} {20 - len(rows(path))}.0' in text
    assert 'pointsman_feedback_total{outcome="dropped"} 20.0' in text
    assert 'pointsman_feedback_total{outcome="written"} 1.0' in text


WRITER = """
import json, sys
from pathlib import Path
from pointsman.serve.capture.capture import LineFile
file = LineFile(Path(sys.argv[1]), int(sys.argv[2]))
for number in range(200):
    file.append(json.dumps({"by": sys.argv[3], "n": number, "text": "x" * 300}).encode() + b"\\n")
"""


def test_several_processes_mix_no_lines_and_lose_none_in_a_rotation(path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), "120000", name])
        for name in ("a", "b", "c")
    ]
    assert [writer.wait(120) for writer in writers] == [0, 0, 0]
    old = path.with_name("capture.jsonl.1")
    found = [(row["by"], row["n"]) for row in (*rows(old), *rows(path))]
    assert sorted(found) == [(name, number) for name in "abc" for number in range(200)]
    assert max(file.stat().st_size for file in (old, path)) <= 120_000
    assert stat.S_IMODE(old.stat().st_mode) == stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_full_disk_tears_no_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, write = LineFile(path, 10_000), capturing.os.write
    file.append(b'{"a": 1}\n')
    with monkeypatch.context() as full:
        full.setattr(capturing.os, "write", lambda descriptor, data: write(descriptor, data[:4]))
        with pytest.raises(OSError, match="does not fit"):
            file.append(b'{"b": 2}\n')
    file.append(b'{"c": 3}\n')
    assert rows(path) == [{"a": 1}, {"c": 3}]


@pytest.mark.parametrize("kind", ["directory", "fifo", "link", "nowhere"])
def test_a_path_that_is_no_file_of_its_own_stops_the_start(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "capture.jsonl"
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        capturing.os.mkfifo(path)
    elif kind == "link":
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path = tmp_path / "nowhere" / "capture.jsonl"
    with pytest.raises(SettingsError, match=r"capture\.path"):
        LineFile(path, 1000)


def test_a_file_that_holds_something_else_stays_as_it_is(artifact: Path, path: Path) -> None:
    tables = {"server": {"history": str(path)}, "capture": {"path": str(path)}}
    with pytest.raises(SettingsError, match="no file of JSON lines"):
        build(settings_for(artifact, **tables))
    History(path).close()


def test_streams_are_written_and_answers_are_not_changed(both: Both, path: Path, local: FakeUpstream) -> None:
    gateway = both(capture={"path": str(path)})
    local.script = stream([delta("one"), DONE])
    assert "[DONE]" in gateway.chat("plan", model="local", stream=True).text
    written(gateway)
    assert [row["served"] for row in rows(path)] == ["local"]
