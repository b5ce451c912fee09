"""Mangled `tokenizer.json` files, read in a process of their own that may die of them.

    python -m tests.reliability.tokenizer_mutations SEED FIRST LAST

Prints a JSON line a file: its number and what came of it (`read`, `refused`, `unread`, or the name of an
exception that is not ours). The output of a process that dies ends with the number of its last file.
"""

import json
import random
import resource
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any

from pointsman.artifact.address import shipped_artifact
from pointsman.artifact.layout import TOKENIZER
from pointsman.artifact.manifest import Limits
from pointsman.artifact.store import Artifact
from pointsman.errors import ArtifactError, InputError
from pointsman.runtime.tokenize import TextEncoder

TEXTS = ["Compare two plans", "a" * 3000, "\u0301\u200b\U0001f600", "[CLS] ![SEP]", ""]
_ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1,
    2**31,
    2**32 - 1,
    2**63,
    1e308,
    "",
    "[",
    "(a+)+$",
    [],
    {},
    [[]],
)
_SPLIT = {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Removed", "invert": False}
_TEMPLATE = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "[X]", "type_id": 0}}]}
CRAFTED: tuple[dict[str, Any], ...] = (
    {"post_processor": {**_TEMPLATE, "pair": [], "special_tokens": {}}},
    {"truncation": {"max_length": 1, "stride": 5, "strategy": "LongestFirst", "direction": "Right"}},
    {"padding": {"strategy": {"Fixed": 4_000_000_000}, "direction": "Right", "pad_to_multiple_of": None}},
    {"pre_tokenizer": _SPLIT},
    {"pre_tokenizer": {"type": "FixedLength", "length": 0}},
    {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}},
    {"model": {"type": "BPE", "vocab": {"a": 2**32 - 1}, "merges": [["a", "a"]]}},
    {"model": {"type": "WordPiece", "unk_token": "[NO]", "vocab": {"a": 2**32 - 1}}},
    {"model": {"type": "Unigram", "unk_id": 9, "vocab": [["a", -1.0]]}},
    {"model": None},
    {"version": "9.9"},
)
"""Files that are known to make the library panic, hang or allocate without end."""


@cache
def small() -> str:
    """The shipped tokenizer with the first thousand words of its vocabulary: the same, and quick to read."""
    tree = json.loads(Artifact.open(shipped_artifact()).read(TOKENIZER))
    tree["model"]["vocab"] = {word: id for word, id in tree["model"]["vocab"].items() if id < 1000}
    return json.dumps(tree)


def mutated(number: int, seed: int) -> bytes:
    """File `number`: the crafted ones first, then the small one with one to three values replaced or gone."""
    tree = json.loads(small())
    if number < len(CRAFTED):
        return json.dumps({**tree, **CRAFTED[number]}).encode()
    draw = random.Random(f"{seed}-{number}")
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        places = [place for place in _places(tree) if place[1] != "vocab"]
        holder, key = draw.choice(places)
        if draw.random() < 0.2:
            del holder[key]
        else:
            holder[key] = draw.choice(_ODD)
    return json.dumps(tree).encode()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place of a tree that holds something, and a few of a long list or table."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    for key in keys[:40]:
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])


def outcome(data: bytes) -> str:
    """What comes of reading a file and five texts with it."""
    try:
        encoder = TextEncoder(data, Limits(126, 10_000))
    except ArtifactError:
        return "refused"
    except BaseException as error:
        return type(error).__name__
    try:
        encoder.encode_many(TEXTS)
    except InputError:
        return "unread"
    except BaseException as error:
        return type(error).__name__
    return "read"


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))
    for index in range(int(sys.argv[2]), int(sys.argv[3])):
        print(json.dumps({"file": index, "outcome": outcome(mutated(index, int(sys.argv[1])))}), flush=True)
