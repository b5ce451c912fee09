"""What a BERT tokenizer makes of every character, as a table that programs without that tokenizer can use.

onnxruntime-extensions' BERT tokenizer normalizes by rules of its own, which differ outside plain English. A
BERT normalizer works character by character, though, so here a table does its work: what the artifact's own
normalizer and pre-tokenizer make of every Unicode character is asked of them when the graph is built. An
operator is left with what it does alike: known words, into pieces of the vocabulary.

A character that no piece of the vocabulary holds makes its word unknown, whatever it is. All of them are
one entry of the table, its default.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer

from pointsman.errors import ArtifactError

UNKNOWN = "\ue000"
"""Stands for every character that the vocabulary does not hold; private use, so in no normalized text."""
_BETWEEN = "\U0010ffff"
"""A character that never will be one; every normalizer leaves it where it is."""
_CHUNK = 4096
_MANY = 500
"""Characters alike of which there are more than this are held as ranges, not in the table."""


Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Characters:
    """What becomes of each Unicode character before words are split into pieces.

    Attributes:
        table: character to the text that takes its place; others become unknown.
        classes: a character of the table to the many that are like it: ranges of code points, ends included.
        longest: characters of a word; a longer one is unknown as a whole.
        vocabulary: the pieces in the order of their ids.
    """

    table: Mapping[str, str]
    classes: Mapping[str, Sequence[Range]]
    longest: int
    vocabulary: Sequence[str]
    unknown: str
    start: str
    end: str


def read_characters(tokenizer_json: bytes) -> Characters:
    """Ask a WordPiece tokenizer of BERT's kind what it makes of every character.

    Raises:
        ArtifactError: it is a tokenizer of another kind, which this cannot express.
    """
    described = _described(tokenizer_json)
    tokenizer = Tokenizer.from_buffer(tokenizer_json)
    vocabulary = _vocabulary(tokenizer)
    known = {character for piece in vocabulary for character in piece.removeprefix("##")}
    table, classes = _table(_written(tokenizer, known))
    start, end = (item["SpecialToken"]["id"] for item in described["post_processor"]["single"][::2])
    if set(described["post_processor"]["special_tokens"]) != {start, end}:
        raise ArtifactError("tokenizer.json: expected a start and an end around the text, and no more.")
    return Characters(
        table=table,
        classes=classes,
        longest=described["model"]["max_input_chars_per_word"],
        vocabulary=vocabulary,
        unknown=described["model"]["unk_token"],
        start=start,
        end=end,
    )


def _described(tokenizer_json: bytes) -> dict[str, Any]:
    """The tokenizer's own description; raises ArtifactError where it is not of BERT's kind."""
    described: dict[str, Any] = json.loads(tokenizer_json)
    kinds = [described[part] and described[part]["type"] for part in ("normalizer", "pre_tokenizer", "model")]
    expected = ["BertNormalizer", "BertPreTokenizer", "WordPiece"]
    if kinds != expected or described["model"]["continuing_subword_prefix"] != "##":
        raise ArtifactError(
            f"tokenizer.json: only a WordPiece tokenizer of BERT's kind can stand inside the graph: "
            f"expected {expected} found {kinds}."
        )
    return described


def _vocabulary(tokenizer: Tokenizer) -> list[str]:
    """The pieces in the order of their ids; raises ArtifactError where an id is left out."""
    ids = tokenizer.get_vocab(with_added_tokens=True)
    vocabulary = sorted(ids, key=ids.__getitem__)
    if [ids[piece] for piece in vocabulary] != list(range(len(vocabulary))):
        raise ArtifactError(
            "tokenizer.json: expected a vocabulary whose ids are 0, 1, 2, ... without a hole."
        )
    return vocabulary


def _table(written: Mapping[str, str]) -> tuple[dict[str, str], dict[str, list[Range]]]:
    """`Characters.table` and `Characters.classes`."""
    groups: dict[str, list[int]] = defaultdict(list)
    for character, value in written.items():
        groups[value].append(ord(character))
    groups.pop(UNKNOWN)
    # The last of a class stands for it: the first may be NUL, which ends a string in the operators.
    classes = {chr(codes[-1]): _ranges(codes) for codes in groups.values() if len(codes) > _MANY}
    table = {
        chr(code): value
        for value, codes in groups.items()
        for code in (codes if len(codes) <= _MANY else codes[-1:])
    }
    return table, classes


def _written(tokenizer: Tokenizer, known: Set[str]) -> dict[str, str]:
    """Every character as the normalizer and the pre-tokenizer leave it, with spaces where words end."""
    codes = [*range(0xD800), *range(0xE000, 0x110000)]
    written: dict[str, str] = {}
    for start in range(0, len(codes), _CHUNK):
        characters = [chr(code) for code in codes[start : start + _CHUNK]]
        normalized = tokenizer.normalizer.normalize_str(_BETWEEN.join(characters)).split(_BETWEEN)
        if len(normalized) != len(characters):
            # The chunk that holds the separator itself.
            normalized = [tokenizer.normalizer.normalize_str(character) for character in characters]
        shown = _shown(tokenizer, sorted(set("".join(normalized))), known)
        for character, text in zip(characters, normalized, strict=True):
            value = "".join(shown[one] for one in text)
            # One unknown character makes its word unknown, whatever stands beside it.
            written[character] = UNKNOWN if UNKNOWN in value and " " not in value else value
    return written


def _shown(tokenizer: Tokenizer, characters: Sequence[str], known: Set[str]) -> dict[str, str]:
    """Each character between two letters: inside the word, alone (punctuation), or gone (white space)."""
    text = "".join(f"a{character}" for character in characters) + "a"
    pieces = [span for _, span in tokenizer.pre_tokenizer.pre_tokenize_str(text)]
    inside = {place for first, end in pieces for place in range(first, end)}
    alone = {first for first, end in pieces if end - first == 1}
    shown = {}
    for index, character in enumerate(characters):
        place, text = 2 * index + 1, character if character in known else UNKNOWN
        shown[character] = " " if place not in inside else f" {text} " if place in alone else text
    return shown


def _ranges(codes: Sequence[int]) -> list[Range]:
    """The ranges of these code points, which are in order."""
    ranges: list[Range] = []
    for code in codes:
        if ranges and code == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], code)
        else:
            ranges.append((code, code))
    return ranges
