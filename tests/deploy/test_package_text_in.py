"""What the table says of characters, against the tokenizer that it was made of."""

import json
from pathlib import Path

import onnx
import pytest
from tests.deploy.full_artifact import build_full_artifact
from tokenizers import Tokenizer

from pointsman.deploy.package.build import build_package
from pointsman.deploy.package.catalogue import target_named
from pointsman.deploy.package.characters import UNKNOWN, Characters, read_characters
from pointsman.errors import ArtifactError

SHIPPED = Path(__file__).parents[2] / "src/pointsman/shipped/tokenizer.json"


@pytest.fixture(scope="module")
def described() -> bytes:
    return SHIPPED.read_bytes()


@pytest.fixture(scope="module")
def characters(described: bytes) -> Characters:
    return read_characters(described)


def written(characters: Characters, text: str) -> str:
    """The text as the table and its classes write it."""
    for one, ranges in characters.classes.items():
        text = "".join(one if any(a <= ord(c) <= b for a, b in ranges) else c for c in text)
    return "".join(characters.table.get(c, UNKNOWN) for c in text)


def test_the_table_writes_a_character_as_the_tokenizer_reads_it(characters: Characters) -> None:
    assert written(characters, "Aé\tİ東!") == "ae i 東  ! "
    assert written(characters, "\u0301\u200b\U0010fffd\x00") == ""
    # The tokenizer knows neither, so both only make their word unknown.
    assert written(characters, "\U0001f600\u0378") == UNKNOWN * 2


def test_words_that_the_table_writes_have_the_tokens_of_the_text(
    characters: Characters, described: bytes
) -> None:
    tokenizer = Tokenizer.from_buffer(described)
    for text in ("Ça va, ﬁancé? ½x", "東京へ行く", "ΣΊΣΥΦΟΣ", "a\u0301b\u200bc", "한국어 x", "x😀y z"):
        shown = written(characters, text).replace(UNKNOWN, "\U0001f600")
        assert tokenizer.encode(shown).ids == tokenizer.encode(text).ids


def test_another_kind_of_tokenizer_is_refused(described: bytes) -> None:
    other = json.loads(described)
    other["pre_tokenizer"] = {"type": "Whitespace"}
    with pytest.raises(ArtifactError, match="found \\['BertNormalizer', 'Whitespace', 'WordPiece'\\]"):
        read_characters(json.dumps(other).encode())


@pytest.mark.torch
def test_the_file_takes_text_and_gives_the_decision(tmp_path: Path) -> None:
    artifact = build_full_artifact(tmp_path / "full")
    build_package(target_named("text-in"), artifact, tmp_path / "made")
    model = onnx.load(tmp_path / "made" / "router.onnx")
    assert [value.name for value in model.graph.input] == ["text"]
    outputs = [value.name for value in model.graph.output]
    assert outputs == ["p_local", "p_cloud", "label", "target", "tokens"]
    assert {entry.key: entry.value for entry in model.metadata_props}["artifact"] == artifact.manifest.id
