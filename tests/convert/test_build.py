"""An export from a checkpoint directory to a verified artifact, and everything that must stop it."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file, save_file
from tests.convert.tiny_checkpoint import write_checkpoint
from tests.runtime.graphs import summed

from pointsman import __version__
from pointsman.artifact.layout import INT8, PLAIN
from pointsman.convert import artifact_files, candidates
from pointsman.convert.build import export
from pointsman.convert.candidate import Candidate
from pointsman.convert.options import ExportOptions, Shape
from pointsman.convert.validation import judge, validate
from pointsman.errors import (
    ArtifactError,
    CheckpointError,
    ConversionError,
    OutputExistsError,
    ParityError,
    PointsmanError,
)
from pointsman.evaluation.parity import Reference
from pointsman.runtime.router import Router

pytestmark = pytest.mark.slow

LIGHT = ExportOptions(plain=False, validate=False, measure=False, quantize=False)
"""No torch: for tests of what happens before and after."""


def silent(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("build") / "checkpoint")


@pytest.fixture(scope="module")
def exported(checkpoint, tmp_path_factory):
    lines: list[str] = []
    made = export(checkpoint, tmp_path_factory.mktemp("out") / "artifact", ExportOptions(), lines.append)
    return made, lines


def test_an_export_is_proved_and_loads(exported):
    made, lines = exported
    manifest = made.artifact.manifest
    made.artifact.verify()
    assert {"plain", "folded"} <= set(manifest.variants)
    assert manifest.provenance["versions"]["pointsman"] == __version__
    assert manifest.opsets[PLAIN]["ai.onnx"] == 18
    assert made.comparisons["folded"].passed and made.comparisons["plain"].passed
    assert manifest.conversion["fold"]["nodes"] < manifest.conversion["plain"]["nodes"]
    assert any(line.startswith("parity: folded passed") for line in lines)
    decision = Router.open(made.artifact.path).route("Hello there!")
    assert 0.0 <= decision.p_cloud <= 1.0


def test_int8_is_published_only_with_its_gates_held_and_the_reason_is_on_record_otherwise(exported):
    made, _ = exported
    manifest, found = made.artifact.manifest, made.comparisons["int8"]
    assert ("int8" in manifest.variants) == found.passed == (made.artifact.path / INT8).is_file()
    if not found.passed:
        assert manifest.conversion["int8"]["refused"]
    assert found.invariance <= 1e-4


def test_an_artifact_is_validated_again_against_its_checkpoint(exported, checkpoint):
    made, _ = exported
    again = validate(made.artifact, checkpoint, queries_file=None, threads=1, progress=silent)
    assert set(again) == set(made.artifact.manifest.variants)
    assert all(comparison.passed for comparison in again.values())


def test_another_checkpoint_is_noticed(exported, tmp_path):
    made, _ = exported
    other = write_checkpoint(tmp_path / "other", id2label={"0": "cloud", "1": "local"}, label2id={})
    with pytest.raises(ParityError, match="not the same classifier"):
        validate(made.artifact, other, queries_file=None, threads=1, progress=silent)


def test_without_torch_nothing_is_imported_and_the_card_says_that_nothing_was_proved(checkpoint, tmp_path):
    made = export(checkpoint, tmp_path / "artifact", LIGHT, silent)
    assert set(made.artifact.manifest.variants) == {"folded"}
    assert "not validated" in (made.artifact.path / "README.md").read_text(encoding="utf-8")


def test_a_fixed_shape_needs_texts_that_fit(checkpoint, tmp_path):
    with pytest.raises(CheckpointError, match="could not read such a text"):
        export(checkpoint, tmp_path / "a", ExportOptions(shape=Shape(1, 64), max_tokens=128), silent)
    options = ExportOptions(
        opset=17, shape=Shape(1, 32), max_tokens=32, quantize=False, fold=False, measure=False
    )
    made = export(checkpoint, tmp_path / "b", options, silent)
    assert made.comparisons["plain"].passed
    decisions = Router.open(made.artifact.path).route_many(["hello", "a longer text than the first"] * 2)
    assert decisions[0] == decisions[2]


def corrupt_json(path):
    (path / "config.json").write_text("{", encoding="utf-8")


def edit(path, **changes):
    file = path / "config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    for name, value in changes.items():
        if value is None:
            config.pop(name)
        else:
            config[name] = value
    file.write_text(json.dumps(config), encoding="utf-8")


def pickled(path):
    (path / "model.safetensors").unlink()
    (path / "pytorch_model.bin").write_bytes(b"\x80\x04.")


def truncated(path):
    file = path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def hostile_header(path):
    (path / "model.safetensors").write_bytes((2**60).to_bytes(8, "little") + b"{}")


def not_finite(value):
    def spoil(path):
        tensors = load_file(path / "model.safetensors")
        tensors["classifier.weight"][0, 0] = value
        save_file(tensors, path / "model.safetensors")

    return spoil


def cast(path, dtype):
    """The weights in another type of torch's."""
    torch, files = pytest.importorskip("torch"), pytest.importorskip("safetensors.torch")
    tensors = files.load_file(path / "model.safetensors")
    kind = getattr(torch, dtype)
    files.save_file({name: tensor.to(kind) for name, tensor in tensors.items()}, path / "model.safetensors")


def bfloat16_with_nan(path):
    not_finite(np.nan)(path)
    cast(path, "bfloat16")


def pipe(path):
    (path / "config.json").unlink()
    os.mkfifo(path / "config.json")


def other_shape(path):
    tensors = load_file(path / "model.safetensors")
    tensors["classifier.weight"] = np.zeros((2, 5), np.float32)
    save_file(tensors, path / "model.safetensors")


def missing_tensor(path):
    tensors = load_file(path / "model.safetensors")
    del tensors["mobilebert.encoder.layer.1.output.bottleneck.dense.bias"]
    save_file(tensors, path / "model.safetensors")


def rows_of_the_head(rows):
    def spoil(path):
        tensors = load_file(path / "model.safetensors")
        width = tensors["classifier.weight"].shape[1]
        tensors |= {
            "classifier.weight": np.ones((rows, width), np.float32),
            "classifier.bias": np.ones(rows, np.float32),
        }
        save_file(tensors, path / "model.safetensors")

    return spoil


def renamed_head(name):
    def spoil(path):
        tensors = load_file(path / "model.safetensors")
        for part in ("weight", "bias"):
            head = tensors.pop(f"classifier.{part}")
            if name:
                tensors[f"{name}.{part}"] = head
        save_file(tensors, path / "model.safetensors")

    return spoil


def other_vocabulary(path):
    edit(path, vocab_size=30)


BAD = {
    "no directory": (shutil.rmtree, "expected a directory"),
    "empty": (lambda p: [f.unlink() for f in p.iterdir()], "cannot be read"),
    "config is not JSON": (corrupt_json, "is not JSON"),
    "no model type": (lambda p: edit(p, model_type=None), "model_type"),
    "another model type": (lambda p: edit(p, model_type="t5"), "t5"),
    "no labels": (lambda p: edit(p, id2label=None), "id2label is missing"),
    "contradictory labels": (lambda p: edit(p, label2id={"local": 1, "cloud": 0}), "contradict"),
    "one class, a regression": (lambda p: edit(p, id2label={"0": "LABEL_0"}, label2id=None), "found 1 "),
    "three classes": (
        lambda p: edit(p, id2label={"0": "local", "1": "mid", "2": "cloud"}, label2id=None),
        r"found 3 \(local, mid, cloud\)",
    ),
    "classes that do not exclude each other": (
        lambda p: edit(p, problem_type="multi_label_classification"),
        "exclude each other.*multi_label",
    ),
    "two targets of a regression": (lambda p: edit(p, problem_type="regression"), "'regression'"),
    "a head of one row": (rows_of_the_head(1), r"classifier.weight: expected a row per label, 2, found"),
    "a head of three rows": (rows_of_the_head(3), r"classifier.weight: expected a row per label, 2, found"),
    "quantized by others": (
        lambda p: edit(p, quantization_config={"load_in_4bit": True}),
        "quantization_config.*Export the checkpoint that was quantized",
    ),
    "a head of another name": (
        renamed_head("score"),
        r"classifier.weight is missing.*score.bias, score.weight",
    ),
    "no head": (renamed_head(None), "classifier.weight is missing.*train it as a classifier"),
    "labels of another task": (
        lambda p: edit(p, id2label={"0": "LABEL_0", "1": "LABEL_1"}, label2id=None),
        "local",
    ),
    "pickle": (pickled, "refused"),
    "truncated weights": (truncated, "cannot be read"),
    "hostile weights": (hostile_header, "cannot be read"),
    "NaN": (not_finite(np.nan), "NaN or infinite"),
    "infinity": (not_finite(np.inf), "NaN or infinite"),
    "weights of another shape": (other_shape, "classifier.weight"),
    "missing tensor": (missing_tensor, "output.bottleneck.dense.bias"),
    "NaN in bfloat16": (bfloat16_with_nan, "NaN or infinite"),
    "8-bit floats": (lambda p: cast(p, "float8_e4m3fn"), "found float8_e4m3fn.*quantized"),
    "whole numbers": (
        lambda p: cast(p, "int8"),
        "expected floating point, found int8",
    ),
    "scripts that are no list": (lambda p: edit(p, scripts="LATIN"), "scripts: expected a list"),
    "scripts that are no names": (lambda p: edit(p, scripts=["latin"]), "scripts: expected a list"),
    "turns below none": (lambda p: edit(p, earlier_turns=-3), "config.json: chat.earlier_turns"),
    "padding below 0": (lambda p: edit(p, pad_token_id=-1), "pad_token_id: expected a token"),
    "padding beyond the vocabulary": (lambda p: edit(p, pad_token_id=500), "pad_token_id: expected a token"),
    "a pipe for a configuration": (pipe, "cannot be read: it is no file"),
    "a name of escapes": (None, "name: expected a text of printable characters"),
    "no tokenizer": (lambda p: (p / "tokenizer.json").unlink(), "tokenizer.json is missing"),
    "tokenizer of another vocabulary": (other_vocabulary, "another vocabulary"),
}


@pytest.mark.parametrize(("spoil", "words"), BAD.values(), ids=BAD.keys())
def test_a_bad_checkpoint_is_refused_by_name_and_nothing_is_written(spoil, words, checkpoint, tmp_path):
    path = tmp_path / ("checkpoint" if spoil else "check\x1b[2Jpoint")
    shutil.copytree(checkpoint, path)
    if spoil:
        spoil(path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(PointsmanError, match=words) as caught:
        export(path, tmp_path / "artifact", LIGHT, silent)
    assert isinstance(caught.value, CheckpointError | ConversionError)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("opset", [13, 24])
def test_an_opset_out_of_range_is_refused(opset, checkpoint, tmp_path):
    with pytest.raises(ConversionError, match="expected 14"):
        export(checkpoint, tmp_path / "artifact", ExportOptions(opset=opset), silent)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("length", [1, 161])
def test_a_length_that_the_model_does_not_have_is_refused(length, checkpoint, tmp_path):
    with pytest.raises(CheckpointError, match=r"expected 2\.\.160"):
        export(checkpoint, tmp_path / "artifact", ExportOptions(max_tokens=length), silent)


def test_an_output_that_exists_is_left_as_it_is(checkpoint, tmp_path):
    (tmp_path / "artifact").mkdir()
    (tmp_path / "artifact" / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputExistsError):
        export(checkpoint, tmp_path / "artifact", LIGHT, silent)
    assert [p.name for p in (tmp_path / "artifact").iterdir()] == ["mine.txt"]


def test_an_interrupt_in_the_middle_leaves_nothing(checkpoint, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(artifact_files, "model_card", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export(checkpoint, tmp_path / "artifact", LIGHT, silent)
    assert not any(tmp_path.iterdir())


def test_a_full_disk_is_said_and_leaves_nothing(checkpoint, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(artifact_files.shutil, "copyfile", full)
    with pytest.raises(PointsmanError, match="No space left"):
        export(checkpoint, tmp_path / "artifact", LIGHT, silent)
    assert not any(tmp_path.iterdir())


def test_a_wrong_graph_never_gets_out(checkpoint, tmp_path, monkeypatch):
    def slightly_wrong(folded, *args):
        model = emit(folded, *args)
        for tensor in model.graph.initializer:
            if list(tensor.dims)[-1:] == [2] and tensor.data_type == 1:
                values = np.frombuffer(tensor.raw_data, np.float32) * 1.5
                tensor.raw_data = values.astype(np.float32).tobytes()
        return model

    emit = candidates.emit
    monkeypatch.setattr(candidates, "emit", slightly_wrong)
    with pytest.raises(ParityError, match=r"no parity, no artifact.*; --no-optimize leaves out"):
        export(checkpoint, tmp_path / "artifact", ExportOptions(quantize=False, plain=False), silent)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "model",
    [onnx.load_from_string(summed(np.full((9, 2), np.nan, np.float32))), onnx.ModelProto()],
    ids=["NaN", "none"],
)
def test_an_optional_file_that_answers_nothing_is_left_out_and_one_that_must_hold_ends_it(model):
    """float16 ends at 65,504; the activations of a fine-tuned MobileBERT do not."""
    lines = []
    inputs = SimpleNamespace(options=LIGHT, progress=lines.append)
    answers = np.zeros((2, 2), np.float32)
    reference = Reference(["a", "b"], [[1, 2], [1, 2, 3]], answers, answers.astype(np.float64), 1)
    optional = Candidate("fp16", "fp16", {}, model)
    judged, comparisons = judge(inputs, [optional], reference)
    assert (judged[0].model, comparisons) == (None, {})
    assert judged[0].record["refused"] in lines[-1]
    with pytest.raises((ParityError, ArtifactError)):
        judge(inputs, [replace(optional, must_hold=True)], reference)
