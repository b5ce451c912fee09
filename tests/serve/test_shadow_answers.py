"""Pairs of answers: asked behind the chat, of what may be written down, and within a budget."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.fake_upstream import FakeUpstream, answer
from tests.support.openai_messages import completion
from tests.support.running import Running, settings_for
from tests.support.waiting import until

from pointsman.errors import SettingsError
from pointsman.serve.capture.redaction import REDACTED

ONE_CALL = 0.007
"""What the scripted cloud's answer costs."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "capture.jsonl"


@pytest.fixture
def shadowing(both: Callable[..., Running], path: Path) -> Callable[..., Running]:
    def make(budget: float = 1.0, **tables: Any) -> Running:
        capture = {"path": str(path), "redact": ["secret-[0-9]+"], **tables.pop("capture", {})}
        return both(capture=capture, shadow={"answers": 1.0, "budget": budget}, **tables)

    return make


def rows(path: Path, count: int) -> list[dict[str, Any]]:
    """The captured rows, once there are so many."""
    until(lambda: path.read_bytes().count(b"\n") >= count)
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_both_are_asked_what_may_be_written_and_their_answers_are_kept(
    shadowing: Callable[..., Running], path: Path, local: FakeUpstream, cloud: FakeUpstream
) -> None:
    local.script = answer(200, completion("I know nothing of secret-42"))
    gateway = shadowing()
    assert gateway.chat("plan secret-42", model="local").json()["pointsman"]["target"] == "local"
    (row,) = rows(path, 1)
    assert row["messages"] == [{"role": "user", "content": f"plan {REDACTED}"}]
    assert row["answers"]["local"]["text"] == f"I know nothing of {REDACTED}"
    pair = row["answers"]["cloud"]
    assert (pair["text"], pair["tokens_in"], pair["tokens_out"]) == ("fine", 1000, 500)
    assert pair["cost"] == pytest.approx(ONE_CALL)
    assert [b"secret-42" in wire.body for wire in local.seen] == [True, False]
    assert [b"secret-42" in wire.body for wire in cloud.seen] == [False]
    assert "secret-42" not in path.read_text()
    assert gateway.gateway.history.since(0.0, "shadow_cost") == pytest.approx(ONE_CALL)


def test_nothing_is_asked_that_a_rule_keeps_or_money_does_not_allow(
    shadowing: Callable[..., Running], path: Path, cloud: FakeUpstream
) -> None:
    rules = [{"name": "private", "send": "local-only", "keywords": ["payroll"]}]
    gateway = shadowing(budget=0.5 * ONE_CALL, routing={"rules": rules})
    gateway.chat("the payroll", model="cloud")
    gateway.chat("mine", headers={"x-pointsman-policy": "local-only"})
    gateway.chat("first", model="local")
    rows(path, 1)
    gateway.chat("second", model="local")
    found = rows(path, 2)
    assert [row["messages"][0]["content"] for row in found] == ["first", "second"]
    assert ["answers" in row for row in found] == [True, False]
    assert len(cloud.seen) == 1


@pytest.mark.parametrize(
    "said", [{"choices": [{"message": {"content": "say it, " * 250}}]}, {"choices": [], "id": "x"}]
)
def test_answers_that_report_no_tokens_use_up_the_money_too(
    shadowing: Callable[..., Running], path: Path, cloud: FakeUpstream, said: dict[str, Any]
) -> None:
    cloud.script = answer(200, json.dumps(said).encode())
    gateway = shadowing(budget=0.001)
    gateway.chat("ask it, " * 500, model="local")
    (row,) = rows(path, 1)
    gateway.chat("second", model="local")
    assert "answers" not in rows(path, 2)[1]
    cost = gateway.gateway.history.since(0.0, "shadow_cost")
    if said["choices"]:
        assert (row["answers"]["cloud"]["estimated"], row["answers"]["local"]["estimated"]) == (True, False)
        assert row["answers"]["cloud"]["cost"] == pytest.approx(cost) == pytest.approx(ONE_CALL, rel=0.02)
    assert gateway.gateway.history.since(0.0, "spent") == cost
    assert len(cloud.seen) == 1


def test_a_model_that_fails_costs_the_pair_and_not_the_row(
    shadowing: Callable[..., Running], path: Path, cloud: FakeUpstream
) -> None:
    cloud.script = answer(500, b'{"error": {"message": "no"}}')
    gateway = shadowing()
    assert gateway.chat("plan", model="local").status_code == 200
    (row,) = rows(path, 1)
    assert "answers" not in row
    cloud.script = answer()
    # What the shadow met is no client's trouble.
    assert gateway.chat("plan", model="cloud").status_code == 200


def test_the_end_of_the_gateway_costs_the_pair_and_not_the_row(
    shadowing: Callable[..., Running], path: Path, cloud: FakeUpstream
) -> None:
    asked = threading.Event()
    cloud.script = lambda wire: (asked.set(), wire.wait_for_close())[1] and None
    gateway = shadowing()
    gateway.chat("plan", model="local")
    assert asked.wait(60)
    gateway.loop.call_soon_threadsafe(gateway.service.stop)
    (row,) = rows(path, 1)
    assert "answers" not in row and row["messages"] == [{"role": "user", "content": "plan"}]


@pytest.mark.parametrize(
    "tables",
    [
        {"shadow": {"answers": 0.1, "budget": 1.0}},
        {"shadow": {"answers": 0.1}, "capture": {"path": "capture.jsonl"}},
        {"shadow": {"answers": 0.1, "budget": 1.0}, "capture": {"path": "capture.jsonl"}},
    ],
)
def test_what_it_needs_is_said_at_the_start(artifact: Path, tables: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=r"shadow\.(answers|budget)"):
        settings_for(artifact, **tables)
