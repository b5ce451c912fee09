"""What is read of a message that a front-end wraps, and what it sends on its own."""

from itertools import product

import pytest
from tests.support.front_ends import BACKGROUND, BACKGROUND_SYSTEM, QUESTIONS, REMINDER, WRAPPED, parts

from pointsman.artifact.manifest import Chat
from pointsman.runtime.chat import text_of_messages
from pointsman.runtime.router import Router
from pointsman.runtime.wrappers import is_background_task, unwrapped


def user(content: object) -> dict[str, object]:
    return {"role": "user", "content": content}


@pytest.mark.parametrize("front_end", WRAPPED)
@pytest.mark.parametrize("question", QUESTIONS)
def test_the_request_is_read_and_not_its_wrapping(front_end: str, question: str) -> None:
    assert text_of_messages([user(WRAPPED[front_end](question))], Chat()) == question


def test_pairs_with_and_without_wrapping_have_the_same_target() -> None:
    router = Router.open()
    pairs = list(product(WRAPPED.values(), QUESTIONS))
    assert len(pairs) >= 200
    plain = {question: router.route_chat([user(question)]).target for question in QUESTIONS}
    same = sum(router.route_chat([user(wrap(q))]).target == plain[q] for wrap, q in pairs)
    assert same >= 0.98 * len(pairs)
    assert set(plain.values()) == {"local", "cloud"}


@pytest.mark.parametrize(
    "text",
    [
        "What does <system-reminder> do in a prompt?",
        "Explain `<system-reminder>x</system-reminder>` please",
        "Is <context>a</context> better than <b>b</b> here",
        "```python\nx = 1\n```\nexplain",
        "### Task:\nWrite me a poem about the sea",
        "System prompt: what is that?",
        "<system-reminder> without an end",
        "</system-reminder>",
        "[read me] Result:\nfine",
        "Attached document(s): none",
    ],
)
def test_a_wrapper_that_is_only_spoken_of_is_read(text: str) -> None:
    assert unwrapped(text) == text


def test_a_message_of_nothing_but_wrapping_is_passed_over_and_alone_it_is_read() -> None:
    asked = user("What is 2+2?")
    assert text_of_messages([asked, user(REMINDER)], Chat()) == "What is 2+2?"
    assert text_of_messages([asked, user(parts(REMINDER))], Chat()) == "What is 2+2?"
    result = user([{"type": "tool_result", "content": "long"}, {"type": "text", "text": REMINDER}])
    assert text_of_messages([asked, result], Chat()) == "What is 2+2?"
    assert text_of_messages([user(REMINDER)], Chat()) == REMINDER


@pytest.mark.parametrize(
    "unit", ["<task>", "<file></file>", "\n</file>", "<file>\n", "</task>", "```a.b\n", "System prompt:"]
)
def test_many_of_them_take_no_longer_than_as_much_text(unit: str) -> None:
    """A way that is quadratic in these texts would take hours."""
    unwrapped(unit * 200_000)
    unwrapped("[a for b] Result:\n" + unit * 200_000)


@pytest.mark.parametrize("prompt", BACKGROUND.values(), ids=BACKGROUND)
def test_background_tasks_are_known_by_their_prompt(prompt: str) -> None:
    assert is_background_task([user("hello"), {"role": "assistant", "content": "hi"}, user(prompt)])


@pytest.mark.parametrize("prompt", BACKGROUND_SYSTEM.values(), ids=BACKGROUND_SYSTEM)
def test_background_tasks_are_known_by_their_system_prompt(prompt: str) -> None:
    assert is_background_task([{"role": "system", "content": prompt}, user("hello")])


@pytest.mark.parametrize(
    "text",
    [
        *QUESTIONS,
        "Generate a title for my blog post about cats",
        "Write a title for the chat app",
        "What is a good conversation title?",
        "### Task:\nWrite me a poem",
        "warmup exercises for runners",
        "summarize this conversation between Romeo and Juliet",
    ],
)
def test_what_a_person_asks_is_none(text: str) -> None:
    assert not is_background_task([user(text)])
