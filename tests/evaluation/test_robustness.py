import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.evaluation.robustness import EDITS, edited


@given(st.sampled_from(sorted(EDITS)), st.text(min_size=1, max_size=80), st.integers(0, 99))
def test_an_edit_never_fails_and_repeats_by_seed(name, text, seed):
    once = EDITS[name](text, random.Random(seed))
    assert once == EDITS[name](text, random.Random(seed))
    assert isinstance(once, str)


@given(st.text(min_size=1, max_size=60), st.integers(0, 99))
def test_white_space_changes_nothing_else(text, seed):
    assert EDITS["white space"](text, random.Random(seed)).split() == text.split()


def test_a_typo_keeps_short_words_whole():
    assert EDITS["typo"]("it is so", random.Random(0)) == "it is so"


@pytest.mark.parametrize("seed", range(20))
def test_a_typo_changes_one_word_and_keeps_its_ends(seed):
    text = "please analyze quarterly revenue"
    words = EDITS["typo"](text, random.Random(seed)).split(" ")
    changed = [(a, b) for a, b in zip(text.split(" "), words, strict=True) if a != b]
    assert len(changed) <= 1
    assert all(a[0] == b[0] and a[-1] == b[-1] for a, b in changed)


def test_politeness_keeps_the_query():
    assert all("Turn it off" in EDITS["politeness"]("Turn it off", random.Random(s)) for s in range(20))


def test_every_kind_is_drawn():
    assert len({edited("Tell me about the weather.", random.Random(s)) for s in range(60)}) > 15
