"""Follow-ups made from single requests: what a last turn means depends on what came before it.

"Go on" after a hard plan needs the large model, and after a greeting does not; "thanks" never does; a new
request stands for itself, whatever came before it. A recipe's `[followups]` names a file of phrases by
kind.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pointsman.artifact.manifest import Chat
from pointsman.datasets.reading import read_rows
from pointsman.datasets.rows import COLUMNS
from pointsman.errors import DataError
from pointsman.runtime.chat import joined
from pointsman.train.data import Example

CONTINUES, CLOSES = "continues", "closes"
_LONGEST_REQUEST = 1500
"""Characters; a longer text would leave no room for an earlier turn."""


@dataclass(frozen=True, slots=True)
class Draw:
    """Which follow-ups are made.

    Attributes:
        chat: how a chat is read; at least one earlier turn.
        local: the target of a turn that asks for nothing, 0..1.
    """

    count: int
    chat: Chat
    local: float
    seed: int


def read_phrases(path: Path) -> dict[str, list[str]]:
    """Phrases by kind: `continues` takes up the request before it, `closes` asks for nothing more.

    Raises:
        DataError: the file cannot be read, a row is of no known kind, or a kind has no phrase.
    """
    phrases: dict[str, list[str]] = {CONTINUES: [], CLOSES: []}
    for row in read_rows(path, COLUMNS, []):
        kind = row.values.get("kind")
        if kind not in phrases:
            raise DataError(f"{row.where}: expected kind {CONTINUES} or {CLOSES}.")
        phrases[kind].append(row.query)
    if not all(phrases.values()):
        raise DataError(f"{path.name}: expected phrases of both kinds, {CONTINUES} and {CLOSES}.")
    return phrases


def follow_ups(
    examples: Sequence[Example], phrases: Mapping[str, Sequence[str]], draw: Draw
) -> list[Example]:
    """Chats of two and three turns with the target of what their last turn asks for.

    Args:
        examples: single requests; those whose target is a rule's alone are drawn, half of them hard.
        phrases: by kind, as `read_phrases` gives them.

    Raises:
        DataError: there are no requests of both targets.
    """
    rng = random.Random(draw.seed)
    known = [e for e in examples if _is_sure(e) and len(e.query) <= _LONGEST_REQUEST]
    hard = [e for e in known if (e.p_cloud or 0.0) >= 0.5]
    easy = [e for e in known if (e.p_cloud or 0.0) < 0.5]
    if not hard or not easy:
        raise DataError("follow-ups need requests of both targets.")
    made = []
    for _ in range(draw.count):
        first, other = (rng.choice(rng.choice((hard, easy))) for _ in range(2))
        go_on, again = (rng.choice(phrases[CONTINUES]) for _ in range(2))
        done = rng.choice(phrases[CLOSES])
        turns, target = rng.choice(
            (
                ([first.query, go_on], first.p_cloud),
                ([first.query, go_on, again], first.p_cloud),
                ([other.query, first.query, go_on], first.p_cloud),
                ([first.query, done], draw.local),
                ([first.query, go_on, done], draw.local),
                ([other.query, first.query], first.p_cloud),
                ([other.query, go_on, first.query], first.p_cloud),
                ([other.query, done, first.query], first.p_cloud),
            )
        )
        made.append(Example(joined(turns, draw.chat), target, "follow-ups", False))
    return made


def _is_sure(example: Example) -> bool:
    """Whether a rule alone says where a request belongs."""
    return example.p_cloud is not None and not example.is_measured and not example.opinion
