"""Replies that do not keep to the protocol: an answer where there is one, else a line that says so."""

import json
import math

import openai
import pytest

from pointsman.traffic.completion import read_answer
from pointsman.traffic.endpoint import Call, Endpoint

CALL = Call(
    "q", "cloud", 0, Endpoint("http://x/v1", "m", price_in=1.0, price_out=1.0), [{"content": "what?"}]
)


def body(message: object = "fine", **members: object) -> bytes:
    said = {"role": "assistant", "content": message} if isinstance(message, str | list) else message
    return json.dumps({"choices": [{"message": said, "finish_reason": "stop"}], **members}).encode()


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'"a text"',
        b"<html>busy</html>",
        b"\xff\xfe",
        b"[" * 100_000,
        body()[:-5],
        body()[: len(body()) // 2],
        b'{"choices": null}',
        b'{"choices": "abc"}',
        b'{"choices": []}',
        b'{"choices": [null]}',
        b'{"choices": [{"message": "hi"}]}',
        b'{"choices": [{"text": "an old completion"}]}',
        b'{"error": {"message": "no money"}}',
    ],
)
def test_what_holds_no_message_is_an_error_of_one_line(reply):
    with pytest.raises(openai.OpenAIError, match="expected a chat completion") as raised:
        read_answer(CALL, reply, 1.0)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("count", [None, "12", -5, math.nan, math.inf, True, [], {}])
def test_counts_that_are_none_are_estimated(count):
    usage = {"prompt_tokens": count, "completion_tokens": count}
    answer = read_answer(CALL, body(usage=usage), 1.0)
    assert answer.tokens_in == CALL.tokens_in
    assert answer.tokens_out == 1.0
    assert answer.cost is not None and 0 < answer.cost < 1e-4


@pytest.mark.parametrize("usage", [None, "free", 3, [1], {"prompt_tokens": 10, "completion_tokens": 2.0}])
def test_usage_may_be_anything(usage):
    assert read_answer(CALL, body(usage=usage), 1.0).text == "fine"


@pytest.mark.parametrize(
    ("message", "text", "finish"),
    [
        ("", "", "stop"),
        ([{"type": "text", "text": "in"}, {"type": "text", "text": "parts"}], "in\nparts", "stop"),
        ({"content": None}, "", "stop"),
        ({"content": 7, "tool_calls": []}, "", "stop"),
        ({"content": None, "refusal": "I cannot"}, "I cannot", "refusal"),
        ({"content": "half a smile \ud83d"}, "half a smile ?", "stop"),
        ({"content": "nul \0"}, "nul \0", "stop"),
    ],
)
def test_the_text_of_a_message(message, text, finish):
    answer = read_answer(CALL, body(message), 1.0)
    assert (answer.text, answer.finish) == (text, finish)
    answer.text.encode()
