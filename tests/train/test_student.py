import json
import shutil

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from pointsman.errors import CheckpointError
from pointsman.train.student import load_student, new_student, resized

pytestmark = pytest.mark.torch


def encoder_of(directory, rows):
    directory.mkdir()
    generator = torch.Generator().manual_seed(1)
    table = torch.randn(rows, 160, generator=generator) + 3.0
    save_file({"embeddings.word_embeddings.weight": table}, directory / "model.safetensors")
    return directory


def test_a_new_student_starts_from_the_teachers_words(tmp_path):
    student = new_student(1, encoder_of(tmp_path / "e", 30522), seed=3)
    words = student.mobilebert.embeddings.word_embeddings.weight.detach()
    assert words.shape == (30522, 128)
    assert words[0].abs().max() == 0.0, "the padding row must be zero"
    assert words.std() == pytest.approx(0.05, rel=0.01)
    assert student.config.id2label == {0: "local", 1: "cloud"}
    again = new_student(1, tmp_path / "e", seed=3)
    assert torch.equal(student.classifier.weight, again.classifier.weight)


def test_padding_moves_no_answer(tmp_path):
    student = new_student(1, encoder_of(tmp_path / "e", 30522), seed=3).eval()
    ids = torch.tensor([[101, 2054, 2003, 102]])
    longer = torch.cat([ids, torch.zeros(1, 5, dtype=torch.long)], dim=1)
    with torch.inference_mode():
        short = student(ids, attention_mask=torch.ones_like(ids)).logits
        padded = student(longer, attention_mask=(longer > 0).long()).logits
    assert torch.allclose(short, padded, atol=1e-5)


def test_a_teacher_of_another_vocabulary_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="another vocabulary"):
        new_student(1, encoder_of(tmp_path / "e", 200), seed=0)


def test_a_base_of_the_published_shape_gets_a_new_head(tiny_base, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(tiny_base, bare)
    weights = load_file(bare / "model.safetensors")
    save_file(
        {k: v for k, v in weights.items() if not k.startswith("classifier.")},
        bare / "model.safetensors",
        metadata={"format": "pt"},
    )
    student = load_student(str(bare))
    assert student.classifier.weight.shape == (2, 32)
    assert student.config.id2label == {0: "local", 1: "cloud"}
    assert {p.dtype for p in student.parameters()} == {torch.float32}


def test_a_pretraining_checkpoint_as_it_is_published_can_be_a_base(tiny_base, tmp_path):
    config = transformers.MobileBertConfig.from_pretrained(tiny_base, classifier_activation=False)
    torch.manual_seed(1)
    published = transformers.MobileBertForPreTraining(config)
    published.save_pretrained(tmp_path / "published")
    student = load_student(str(tmp_path / "published"))
    wanted = published.mobilebert.state_dict()
    assert all(torch.equal(wanted[name], value) for name, value in student.mobilebert.state_dict().items())
    assert student.config.id2label == {0: "local", 1: "cloud"}


def test_a_student_grows_without_changing_its_answers(tiny_base):
    student = load_student(str(tiny_base)).eval()
    ids = torch.tensor([[2, 7, 12, 18, 3], [2, 9, 3, 0, 0]])
    mask = (ids > 0).long()
    with torch.inference_mode():
        before = student(ids, attention_mask=mask).logits
    resized(student, 4).eval()
    with torch.inference_mode():
        after = student(ids, attention_mask=mask).logits
    assert torch.equal(before, after)
    assert len(student.mobilebert.encoder.layer) == student.config.num_hidden_layers == 4
    student(ids, attention_mask=mask).logits.sum().backward()
    added = student.mobilebert.encoder.layer[3].output.bottleneck.dense.weight
    assert added.grad.abs().max() > 0.0, "a new block must be able to learn"


def test_of_too_many_blocks_evenly_spaced_ones_stay(tiny_base):
    student = resized(load_student(str(tiny_base)), 6)
    blocks = list(student.mobilebert.encoder.layer)
    kept = list(resized(student, 3).mobilebert.encoder.layer)
    assert [blocks.index(block) for block in kept] == [0, 2, 5]
    assert student.config.num_hidden_layers == 3
    ids = torch.tensor([[2, 7, 12, 18, 3]])
    assert student(ids, attention_mask=torch.ones_like(ids)).logits.shape == (1, 2)
    assert list(resized(student, 1).mobilebert.encoder.layer) == [blocks[0]]


def test_what_cannot_grow_is_refused(tiny_base):
    student = load_student(str(tiny_base))
    assert resized(student, 1) is student
    student.config.normalization_type = "layer_norm"
    with pytest.raises(CheckpointError, match="layer norms"):
        resized(student, 3)
    student.config.model_type = "bert"
    with pytest.raises(CheckpointError, match="expected a MobileBERT"):
        resized(student, 3)


def test_a_routers_own_head_is_kept_in_the_order_of_the_labels(tiny_base, tmp_path):
    turned = tmp_path / "turned"
    shutil.copytree(tiny_base, turned)
    config = json.loads((turned / "config.json").read_text())
    config |= {"id2label": {"0": "cloud", "1": "local"}, "label2id": {"cloud": 0, "local": 1}}
    (turned / "config.json").write_text(json.dumps(config))
    kept, flipped = load_student(str(tiny_base)), load_student(str(turned))
    assert torch.equal(kept.classifier.weight.flip(0), flipped.classifier.weight)
    assert flipped.config.id2label == {0: "local", 1: "cloud"}


@pytest.mark.parametrize(
    "change",
    [
        {"num_hidden_layers": 2},
        {"intra_bottleneck_size": 8, "num_attention_heads": 2},
        {"vocab_size": 77},
    ],
)
def test_weights_that_do_not_fit_their_configuration_are_refused(tiny_base, tmp_path, change):
    broken = tmp_path / "broken"
    shutil.copytree(tiny_base, broken)
    config = json.loads((broken / "config.json").read_text()) | change
    (broken / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="broken"):
        load_student(str(broken))


def test_a_base_that_is_not_there_or_damaged_is_refused(tiny_base, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_student(str(tmp_path / "none"))
    damaged = tmp_path / "damaged"
    shutil.copytree(tiny_base, damaged)
    (damaged / "model.safetensors").write_bytes(b"\x10\x00\x00")
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_student(str(damaged))
