"""Edits that do not change what a query asks for: a router should not change its mind over them."""

import random
from collections.abc import Callable

_BEFORE = ("Please ", "Hi, ", "Hey there, ", "Could you help me? ", "Hello! ", "Quick one: ", "Ok, ")
_AFTER = (" please", " Thanks!", " thank you", " Thanks in advance.", " :)", " pls")
_SHORTEST_FOR_A_TYPO = 4


def change_case(text: str, rng: random.Random) -> str:
    """All capitals, all small, or another first letter."""
    return rng.choice((text.upper(), text.lower(), text[:1].swapcase() + text[1:]))


def change_punctuation(text: str, rng: random.Random) -> str:
    """Drop the final mark, or put another."""
    bare = text.rstrip(".!?… ")
    return bare + rng.choice(("", ".", "!", "?", "...")) if bare else text


def add_typo(text: str, rng: random.Random) -> str:
    """Swap two neighbouring letters inside one longer word, or lose one."""
    words = text.split(" ")
    long_words = [i for i, word in enumerate(words) if len(word) >= _SHORTEST_FOR_A_TYPO and word.isalpha()]
    if not long_words:
        return text
    index = rng.choice(long_words)
    word = words[index]
    at = rng.randrange(1, len(word) - 2)
    words[index] = (
        word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        if rng.random() < 0.5
        else word[:at] + word[at + 1 :]
    )
    return " ".join(words)


def add_politeness(text: str, rng: random.Random) -> str:
    """A greeting before, or thanks after."""
    return rng.choice(_BEFORE) + text if rng.random() < 0.5 else text + rng.choice(_AFTER)


def add_white_space(text: str, rng: random.Random) -> str:
    """More space between two words, and around the text."""
    words = text.split(" ")
    at = rng.randrange(len(words))
    words[at] = rng.choice(("  ", " \t", "\n")) + words[at]
    return " ".join(words) + rng.choice(("", " ", "\n"))


EDITS: dict[str, Callable[[str, random.Random], str]] = {
    "case": change_case,
    "punctuation": change_punctuation,
    "typo": add_typo,
    "politeness": add_politeness,
    "white space": add_white_space,
}
"""Every kind of edit by its name."""


def edited(text: str, rng: random.Random) -> str:
    """The text after one edit of a random kind."""
    return rng.choice(list(EDITS.values()))(text, rng)
