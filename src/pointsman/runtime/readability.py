"""Whether a vocabulary can read a text: a table over its pieces, and one sum over a text's tokens.

A WordPiece vocabulary trained on English holds single letters of many scripts, so unknown words do not tell:
Chinese comes out as known characters, Russian as known letters, and the model guesses confidently.
Each piece that begins a word therefore weighs by its script, and a text whose sum is above 0 is unreadable:
more of its words are foreign or unknown than readable, an ideograph and an unknown token being half a word
(a Chinese word has about two characters, and each is a token). Digits and punctuation count for neither side.
"""

import unicodedata
from collections.abc import Mapping, Sequence

READ, NEUTRAL, HALF, FOREIGN = -2, 0, 1, 2
"""A readable word; a continuation, number or mark; an ideograph or unknown token; a foreign word."""

UNKNOWN = "[UNK]"


def word_weights(vocabulary: Mapping[str, int], scripts: Sequence[str]) -> list[int]:
    """The weight of each piece by its id; all 0 where `scripts` is empty.

    Args:
        vocabulary: piece to id, ids 0..n-1, pieces as WordPiece writes them (`##` continues a word).
        scripts: that the model was trained on, each as the first word of its letters' Unicode names, such as
            `LATIN`.
    """
    weights = [NEUTRAL] * (max(vocabulary.values(), default=-1) + 1)
    if scripts:
        for piece, index in vocabulary.items():
            if not piece.startswith("##"):
                weights[index] = _weight(piece, scripts)
    return weights


def is_unreadable(ids: Sequence[int], weights: Sequence[int]) -> bool:
    """Whether most of a text's words are foreign or unknown."""
    return sum(map(weights.__getitem__, ids)) > 0


def _weight(piece: str, scripts: Sequence[str]) -> int:
    if piece == UNKNOWN:
        return HALF
    if piece.startswith("[") and piece.endswith("]"):
        return NEUTRAL
    letter: str | None = piece[:1]
    # Most pieces begin with a Latin letter.
    if not (piece[:1].isascii() and piece[:1].isalpha()):
        letter = next((c for c in piece if c.isalpha() and unicodedata.category(c) != "Lm"), None)
    if letter is None:
        return NEUTRAL
    script = "LATIN" if letter.isascii() else unicodedata.name(letter, "").split(" ")[0]
    if script in scripts:
        return READ
    return HALF if script == "CJK" else FOREIGN
