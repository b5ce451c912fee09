"""An artifact's tokenizer: the ids of the checkpoint's, without the padding that a training left in it."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.convert.tiny_checkpoint import write_tokenizer
from tokenizers import Tokenizer

from pointsman.artifact.manifest import Limits
from pointsman.convert.tokenizer import artifact_tokenizer

LIMITS = Limits(max_tokens=16, max_chars=4096)


def test_a_fixed_padding_does_not_reach_the_artifact(tmp_path):
    write_tokenizer(tmp_path)
    file = tmp_path / "tokenizer.json"
    trained = Tokenizer.from_file(str(file))
    trained.enable_padding(length=128)
    trained.enable_truncation(max_length=128)
    trained.save(str(file))
    text = artifact_tokenizer(file, LIMITS)
    assert json.loads(text)["padding"] is None
    assert json.loads(text)["truncation"]["max_length"] == 16
    assert len(Tokenizer.from_str(text).encode("hi").ids) < 16


def test_any_text_has_the_checkpoints_ids_up_to_the_limit(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(directory)
    trained = Tokenizer.from_file(str(directory / "tokenizer.json"))
    made = Tokenizer.from_str(artifact_tokenizer(directory / "tokenizer.json", LIMITS))

    @settings(deadline=None)
    @given(st.text(st.characters(exclude_categories=["Cs"]), max_size=80))
    def same(text: str) -> None:
        ids = trained.encode(text).ids
        wanted = ids if len(ids) <= 16 else [*ids[:15], ids[-1]]
        assert made.encode(text).ids == wanted

    same()
