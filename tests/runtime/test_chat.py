"""Which text of a chat is read: the last user message, with so many before it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.artifact.manifest import Chat
from pointsman.runtime.chat import text_of_messages


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


TURNS = [user("one"), {"role": "assistant", "content": "said"}, user("two"), user("three")]


@pytest.mark.parametrize(
    ("earlier", "text"), [(0, "three"), (1, "two\nthree"), (2, "one\ntwo\nthree"), (9, "one\ntwo\nthree")]
)
def test_so_many_earlier_turns(earlier: int, text: str) -> None:
    assert text_of_messages(TURNS, Chat(earlier)) == text


@pytest.mark.parametrize(("earlier", "text"), [(0, "three"), (1, "three\n¶ two"), (9, "three\n¶ two\n¶ one")])
def test_the_last_turn_first(earlier: int, text: str) -> None:
    assert text_of_messages(TURNS, Chat(earlier, last_first=True)) == text


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("  hi \n", "hi"),
        ([{"type": "text", "text": "a"}, {"type": "image_url"}, {"type": "input_text", "text": "b"}], "a\nb"),
        ([{"type": "image_url", "image_url": {}}], ""),
        ([{"type": "text", "text": 5}, "loose", None], ""),
        ([], ""),
        (None, ""),
        (5, ""),
    ],
)
def test_the_text_of_one_message(content: Any, text: str) -> None:
    assert text_of_messages([user(content)], Chat()) == text


def test_a_message_without_text_is_no_turn() -> None:
    assert text_of_messages([user("asked"), user([]), user(" ")], Chat()) == "asked"


@pytest.mark.parametrize("messages", [[], [{}], [{"role": "assistant", "content": "hi"}], [{"role": "user"}]])
def test_no_user_text_is_empty(messages: list[dict[str, Any]]) -> None:
    assert text_of_messages(messages, Chat()) == ""


@given(
    st.lists(st.tuples(st.sampled_from(["user", "system", "tool"]), st.text(max_size=9))), st.integers(0, 4)
)
def test_only_users_are_read(said: list[tuple[str, str]], earlier: int) -> None:
    messages = [{"role": role, "content": text} for role, text in said]
    users = [message for message in messages if message["role"] == "user"]
    assert text_of_messages(messages, Chat(earlier)) == text_of_messages(users, Chat(earlier))
