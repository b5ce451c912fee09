"""torch's exporters, read back: what was asked for, or an error."""

import json

import numpy as np
import onnx
import pytest
import torch
from tests.convert.tiny_checkpoint import write_checkpoint

from pointsman.convert.checkpoint import read_checkpoint
from pointsman.convert.options import Shape
from pointsman.convert.torch_export import export_plain, load_model, opset_of
from pointsman.errors import CheckpointError, ConversionError
from pointsman.runtime.session import Session, SessionConfig

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(read_checkpoint(write_checkpoint(tmp_path_factory.mktemp("plain") / "checkpoint")))


def answers(model, ids, mask):
    with torch.inference_mode():
        return model(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)).logits.numpy()


@pytest.mark.parametrize("opset", [14, 17, 18, 20])
def test_the_file_has_the_opset_that_was_asked_for_and_the_models_answers(model, opset):
    some = np.arange(5, 25)[None, :]
    before = answers(model, some, np.ones_like(some))
    exported = export_plain(model, opset, Shape())
    # The model is as it was: in eval mode.
    assert not any(module.training for module in model.modules())
    np.testing.assert_array_equal(answers(model, some, np.ones_like(some)), before)
    onnx.checker.check_model(exported, full_check=True)
    assert opset_of(exported) == opset
    assert [i.name for i in exported.graph.input] == ["input_ids", "attention_mask"]
    assert {node.domain for node in exported.graph.node} <= {"", "ai.onnx"}
    axes = [d.dim_param for d in exported.graph.input[0].type.tensor_type.shape.dim]
    assert axes == ["batch", "sequence"]
    rng = np.random.default_rng(1)
    session = Session(exported.SerializeToString(), SessionConfig(threads=1))
    for rows, length in ((1, 1), (1, 9), (4, 30)):
        ids = rng.integers(5, 70, (rows, length))
        mask = np.ones_like(ids)
        np.testing.assert_allclose(session.run(ids, mask), answers(model, ids, mask), atol=2e-4)


@pytest.mark.parametrize("opset", [14, 18])
def test_a_fixed_shape_answers_shorter_texts_and_smaller_batches(model, opset):
    exported = export_plain(model, opset, Shape(2, 16))
    dims = [d.dim_value for d in exported.graph.input[0].type.tensor_type.shape.dim]
    assert dims == [2, 16]
    session = Session(exported.SerializeToString(), SessionConfig(threads=1))
    rng = np.random.default_rng(2)
    for rows, length in ((1, 3), (2, 16), (5, 11)):
        ids = rng.integers(5, 70, (rows, length))
        mask = np.ones_like(ids)
        np.testing.assert_allclose(session.run(ids, mask), answers(model, ids, mask), atol=2e-4)


def test_a_model_that_cannot_run_is_said_in_one_line(tmp_path):
    """`key_query_shared_bottleneck` off feeds 24 channels where 16 are taken: nobody trained that."""
    path = write_checkpoint(tmp_path / "checkpoint")
    config = (path / "config.json").read_text(encoding="utf-8")
    unshared = config.replace("{", '{"key_query_shared_bottleneck": false, ', 1)
    (path / "config.json").write_text(unshared, encoding="utf-8")
    with pytest.raises(CheckpointError, match="does not run on two tokens: mat1") as caught:
        load_model(read_checkpoint(path))
    assert len(str(caught.value).splitlines()) == 1


def with_config(path, **changes):
    config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    (path / "config.json").write_text(json.dumps({**config, **changes}), encoding="utf-8")
    return read_checkpoint(path)


@pytest.mark.parametrize(
    "changes",
    [{"hidden_dropout_prob": "x"}, {"layer_norm_eps": "x"}, {"use_return_dict": False}, {"num_labels": "2"}],
    ids=str,
)
def test_a_configuration_that_transformers_refuses_is_one_line(tmp_path, changes):
    with pytest.raises(CheckpointError, match="cannot be loaded by transformers") as caught:
        load_model(with_config(write_checkpoint(tmp_path / "checkpoint"), **changes))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"return_dict": False},
        {"output_hidden_states": True, "output_attentions": True},
        {"torchscript": True, "torch_dtype": "float16", "hidden_dropout_prob": 0.5, "pruned_heads": {}},
    ],
    ids=str,
)
def test_what_a_config_says_of_training_and_of_outputs_changes_no_answer(tmp_path, model, changes):
    ids = np.arange(5, 25)[None, :]
    mask = np.ones_like(ids)
    found = load_model(with_config(write_checkpoint(tmp_path / "checkpoint"), **changes))
    np.testing.assert_array_equal(answers(found, ids, mask), answers(model, ids, mask))


def test_what_an_exporter_says_on_pages_is_one_line(model, monkeypatch):
    def fail(*arguments, **options):
        try:
            raise ValueError("the shape is wrong\nsecond line")
        except ValueError as error:
            raise RuntimeError("\x1b[96mNext steps:\n- advice\n- more") from error

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(ConversionError) as caught:
        export_plain(model, 18, Shape())
    assert str(caught.value) == "torch's exporter failed at opset 18: the shape is wrong"


def test_weights_that_do_not_fill_the_model_are_an_error(tmp_path):
    path = write_checkpoint(tmp_path / "checkpoint")
    config = (path / "config.json").read_text(encoding="utf-8")
    wider = config.replace('"num_hidden_layers": 2', '"num_hidden_layers": 3')
    assert wider != config
    (path / "config.json").write_text(wider, encoding="utf-8")
    with pytest.raises(CheckpointError, match="missing"):
        load_model(read_checkpoint(path))
