"""Any number of short queries from the project's own: chosen and edited by a seeded generator."""

import random
from collections.abc import Callable, Iterator

from pointsman.datasets.reading import project_queries

SHORT_WORDS = 12
"""Words of a short query at most, before it is edited."""


def own_queries(seed: int | None = None) -> list[str]:
    """The project's own queries, of every length; with a seed, shuffled by it."""
    own = [query for query in project_queries() if query.strip()]
    if seed is not None:
        random.Random(seed).shuffle(own)
    return own


def short_queries(seed: int) -> Iterator[str]:
    """Without an end: a query of the project's, edited once or twice."""
    chance = random.Random(seed)
    short = [query for query in own_queries() if len(query.split()) <= SHORT_WORDS]
    words = sorted({word for query in short for word in query.split()})
    edits = _edits(chance, words)
    while True:
        query = chance.choice(short)
        for edit in chance.sample(edits, chance.randint(1, 2)):
            query = edit(query)
        yield query


def _edits(chance: random.Random, words: list[str]) -> list[Callable[[str], str]]:
    def replace_a_word(text: str) -> str:
        parts = text.split()
        parts[chance.randrange(len(parts))] = chance.choice(words)
        return " ".join(parts)

    def swap_two_letters(text: str) -> str:
        if len(text) < 2:
            return text
        at = chance.randrange(len(text) - 1)
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]

    return [
        replace_a_word,
        swap_two_letters,
        str.lower,
        lambda text: "So, " + text,
        lambda text: text + " Please!",
        lambda text: f"{text} {chance.randrange(1000)}",
    ]
