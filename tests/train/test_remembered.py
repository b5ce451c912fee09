"""Answers kept text by text: asked once, whatever list a text stands in."""

import numpy as np
import pytest

from pointsman.train.remembered import remembered


def test_a_text_is_asked_once_in_any_list_and_after_an_interrupt(tmp_path):
    asked: list[str] = []

    def answer(texts):
        asked.extend(texts)
        return np.array([[len(text)] for text in texts], np.float16)

    assert remembered(["ab", "a", "ab"], tmp_path, answer)[:, 0].tolist() == [2, 1, 2]
    assert remembered(["abc", "a"], tmp_path, answer)[:, 0].tolist() == [3, 1]
    assert sorted(asked) == ["a", "ab", "abc"]


def test_what_was_read_before_a_failure_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("pointsman.train.remembered._PART_TEXTS", 2)
    calls = []

    def answer(texts):
        calls.append(list(texts))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return np.zeros((len(texts), 1), np.float16)

    with pytest.raises(KeyboardInterrupt):
        remembered(["a", "bb", "ccc"], tmp_path, answer)
    remembered(["a", "bb", "ccc"], tmp_path, answer)
    assert calls == [["a", "bb"], ["ccc"], ["ccc"]]
