"""Follow-ups: what each shape of chat is trained to."""

import json
from pathlib import Path

import pytest

from pointsman.artifact.manifest import Chat
from pointsman.errors import DataError
from pointsman.runtime.chat import MARK, text_of_messages
from pointsman.train.conversation import CLOSES, CONTINUES, Draw, follow_ups, read_phrases
from pointsman.train.data import Example

pytestmark = pytest.mark.torch

CHAT = Chat(2, last_first=True)
SINGLE = [
    Example("prove it", 0.99, "s", False),
    Example("hello", 0.01, "s", False),
    Example("text", None, "s", False),
]
PHRASES = {CONTINUES: ["go on"], CLOSES: ["thanks"]}
RECIPES = Path(__file__).parents[2] / "recipes"


def test_a_follow_up_has_the_target_of_what_it_takes_up():
    made = follow_ups(SINGLE, PHRASES, Draw(300, CHAT, 0.01, 7))
    targets = {e.query: e.p_cloud for e in made}
    assert targets[f"go on{MARK}prove it"] == 0.99
    assert targets[f"go on{MARK}go on{MARK}hello"] == 0.01
    assert targets[f"thanks{MARK}prove it"] == 0.01
    assert targets[f"prove it{MARK}thanks{MARK}hello"] == 0.99
    assert targets[f"hello{MARK}prove it"] == 0.01
    assert targets[f"go on{MARK}prove it{MARK}hello"] == 0.99
    assert made == follow_ups(SINGLE, PHRASES, Draw(300, CHAT, 0.01, 7))
    assert not any("text" in e.query or e.is_measured for e in made)


def test_both_targets_and_both_kinds_are_needed(tmp_path):
    with pytest.raises(DataError, match="both targets"):
        follow_ups(SINGLE[:1], PHRASES, Draw(1, CHAT, 0.01, 7))
    path = tmp_path / "p.jsonl"
    path.write_text('{"query": "go on", "kind": "continues"}\n', encoding="utf-8")
    with pytest.raises(DataError, match="both kinds"):
        read_phrases(path)
    path.write_text('{"query": "go on", "kind": "other"}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"p\.jsonl:1"):
        read_phrases(path)


def test_no_turn_of_the_test_chats_was_written_for_training():
    known = {p.lower() for of in read_phrases(RECIPES / "follow-ups.jsonl").values() for p in of}
    everyday, chats = (
        [json.loads(line) for line in (RECIPES / name).read_text(encoding="utf-8").splitlines()]
        for name in ("everyday-third.jsonl", "chats-test.jsonl")
    )
    known |= {row["query"].lower() for row in everyday}
    turns = {m["content"].lower() for chat in chats for m in chat["messages"] if m["role"] == "user"}
    assert len(chats) >= 300
    assert not turns & known
    assert len({text_of_messages(chat["messages"], CHAT) for chat in chats}) == len(chats)
