"""Every encoder, tiny and random: exported, proved, and with int8 or the reason why not."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.convert.tiny_checkpoint import write_checkpoint, write_other

from pointsman.artifact.manifest import Limits
from pointsman.convert.build import export
from pointsman.convert.checkpoint import read_checkpoint
from pointsman.convert.options import ExportOptions
from pointsman.convert.queries import proof_texts
from pointsman.convert.reference import same_tokens
from pointsman.errors import CheckpointError
from pointsman.runtime.router import Router

AFTER_PADDING = ("roberta", "xlm-roberta", "mpnet")
CORE = ("bert", "distilbert", "roberta", "gpt2", "modernbert")
OTHERS = ("MiniLM", "albert", "deberta-v2", "electra", "mpnet", "qwen3", "xlm-roberta")
OPTIONS = ExportOptions(measure=False, max_tokens=48)


def made(directory: Path, architecture: str) -> Path:
    if architecture == "MiniLM":
        sizes = {"hidden_size": 48, "num_hidden_layers": 3, "intermediate_size": 96}
        return write_other(directory / "checkpoint", "bert", **sizes)
    pad = 1 if architecture in AFTER_PADDING else 0
    return write_other(directory / "checkpoint", architecture, pad_token_id=pad)


@pytest.mark.parametrize(
    "architecture", [*CORE, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)]
)
def test_an_encoder_is_exported_proved_and_answers_alone_as_in_a_batch(architecture, tmp_path):
    path = made(tmp_path, architecture)
    exported = export(path, tmp_path / "artifact", OPTIONS, lambda line: None)
    manifest = exported.artifact.manifest
    assert manifest.model_type == architecture.replace("MiniLM", "bert")
    assert exported.comparisons["plain"].passed
    assert "not MobileBERT" in manifest.conversion["fold"]["refused"]
    assert ("folded" in manifest.variants) or manifest.conversion["optimizer"]["refused"]
    assert ("int8" in manifest.variants) != ("refused" in manifest.conversion["int8"])
    texts = ["a", "some more words than the first", "", "b" * 40]
    for variant in manifest.variants:
        router = Router.open(exported.artifact.path, variant=variant)
        together = router.logits(texts)
        alone = np.concatenate([router.logits([text]) for text in texts])
        np.testing.assert_allclose(together, alone, atol=2e-5)


def test_a_text_without_special_tokens_around_it_is_a_text(tmp_path):
    path = made(tmp_path, "gpt2")
    tokenizer = json.loads((path / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["post_processor"] = None
    (path / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    options = ExportOptions(measure=False, max_tokens=48, quantize=False, fold=False)
    router = Router.open(export(path, tmp_path / "artifact", options, lambda line: None).artifact.path)
    encodings = router.encode(["", "hi", "a"])
    assert [encoding.is_empty for encoding in encodings] == [True, False, False]
    assert [len(encoding.ids) for encoding in encodings] == [1, 2, 1]
    assert router.route("").reason == "empty_text"


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
