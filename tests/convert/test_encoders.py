"""Every encoder, tiny and random: exported, proved, and with int8 or the reason why not."""

import json

import pytest
from tests.convert.encoders import check_encoder, made
from tests.convert.tiny_checkpoint import write_checkpoint, write_tokenizer
from tokenizers import Tokenizer, models

from pointsman.artifact.manifest import Limits
from pointsman.convert.build import export
from pointsman.convert.checkpoint import read_checkpoint
from pointsman.convert.inputs import proof_texts
from pointsman.convert.options import ExportOptions
from pointsman.convert.reference import same_tokens
from pointsman.convert.tokenizer import artifact_tokenizer
from pointsman.errors import CheckpointError
from pointsman.runtime.tokenize import TextEncoder

pytestmark = pytest.mark.slow

CORE = ("bert", "gpt2", "modernbert", "roberta")
"""One of each kind; the others are in tests/encoders, run by `nox -s encoders`."""


@pytest.mark.parametrize("architecture", CORE)
def test_an_encoder_is_exported_proved_and_answers_alone_as_in_a_batch(architecture, tmp_path):
    check_encoder(architecture, tmp_path)


def test_a_text_without_special_tokens_around_it_is_a_text(tmp_path):
    write_tokenizer(tmp_path)
    tokenizer = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["post_processor"] = None
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    limits = Limits(48, 2400)
    encoder = TextEncoder(artifact_tokenizer(tmp_path / "tokenizer.json", limits, pad_id=1).encode(), limits)
    encodings = encoder.encode_many(["", "hi", "a"])
    assert [encoding.is_empty for encoding in encodings] == [True, False, False]
    assert [len(encoding.ids) for encoding in encodings] == [1, 2, 1]
    assert encodings[0].ids == [encoder.pad_id] == [1]


def test_one_token_more_than_the_positions_hold_is_refused_by_the_number(tmp_path):
    path = made(tmp_path, "roberta")
    with pytest.raises(CheckpointError, match=r"161: expected 2\.\.160"):
        export(path, tmp_path / "artifact", ExportOptions(max_tokens=161), lambda line: None)


def test_files_of_the_tokenizer_that_contradict_each_other_are_refused_with_the_text(tmp_path):
    path = write_checkpoint(tmp_path / "checkpoint")
    tokenizer = json.loads((path / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["normalizer"]["lowercase"] = False
    (path / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    settings = {"tokenizer_class": "BertTokenizer", "pad_token": "[PAD]", "do_lower_case": True}
    (path / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    checkpoint = read_checkpoint(path)
    proof = proof_texts(checkpoint, Limits(48, 2400), ExportOptions())
    with pytest.raises(CheckpointError, match="First at "):
        same_tokens(checkpoint, proof, Limits(48, 2400))


def of_another_kind(path):
    """Byte pairs behind a configuration that says WordPiece."""
    Tokenizer(models.BPE({"[UNK]": 0, "[CLS]": 1}, [], unk_token="[UNK]")).save(str(path / "tokenizer.json"))
    (path / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}', encoding="utf-8")


def without_its_unknown_token(path):
    text = (path / "tokenizer.json").read_text(encoding="utf-8")
    edited = text.replace('"unk_token":"[UNK]"', '"unk_token":"[NONE]"').replace(
        '"unk_token": "[UNK]"', '"unk_token": "[NONE]"'
    )
    assert edited != text
    (path / "tokenizer.json").write_text(edited, encoding="utf-8")


def without_a_table(path):
    (path / "tokenizer_config.json").write_text("[]", encoding="utf-8")


@pytest.mark.parametrize("spoil", [of_another_kind, without_its_unknown_token, without_a_table])
def test_a_tokenizer_that_fails_on_a_text_is_the_checkpoints_fault(spoil, tmp_path):
    path = write_checkpoint(tmp_path / "checkpoint")
    spoil(path)
    checkpoint, limits = read_checkpoint(path), Limits(48, 2400)
    with pytest.raises(CheckpointError, match="tokenizer") as caught:
        same_tokens(checkpoint, proof_texts(checkpoint, limits, ExportOptions()), limits)
    assert len(str(caught.value).splitlines()) == 1
