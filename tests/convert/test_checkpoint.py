"""Checkpoints as people have them: read where they can be, and one line that helps where they cannot."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tests.convert.tiny_checkpoint import write_checkpoint

from pointsman.cli.export import parse_labels
from pointsman.convert.checkpoint import read_checkpoint
from pointsman.convert.checkpoint_files import INDEX, WEIGHTS
from pointsman.convert.torch_export import load_model
from pointsman.errors import CheckpointError, SettingsError


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    return write_checkpoint(tmp_path / "checkpoint")


def edit(path: Path, **changes: object) -> None:
    file = path / "config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    config.update(changes)
    file.write_text(json.dumps({k: v for k, v in config.items() if v is not None}), encoding="utf-8")


def same_weights(found, wanted) -> bool:
    return found.keys() == wanted.keys() and all(np.array_equal(found[n], wanted[n]) for n in wanted)


def test_shards_are_read_as_one(checkpoint):
    tensors = load_file(checkpoint / WEIGHTS)
    names = sorted(tensors)
    shards = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, held in shards.items():
        save_file({name: tensors[name] for name in held}, checkpoint / file, metadata={"format": "pt"})
    weight_map = {name: file for file, held in shards.items() for name in held}
    (checkpoint / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}), encoding="utf-8")
    whole = read_checkpoint(checkpoint).sha256
    (checkpoint / WEIGHTS).unlink()
    found = read_checkpoint(checkpoint)
    assert same_weights(found.weights(), tensors)
    assert found.sha256 != whole
    load_model(found)
    (checkpoint / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match="model-00002-of-00002"):
        read_checkpoint(checkpoint)


@pytest.mark.parametrize("where", ["../outside.safetensors", "/etc/passwd", 7])
def test_an_index_cannot_name_files_elsewhere(checkpoint, where):
    (checkpoint / WEIGHTS).unlink()
    (checkpoint / INDEX).write_text(json.dumps({"weight_map": {"a": where}}), encoding="utf-8")
    with pytest.raises(CheckpointError, match="weight_map"):
        read_checkpoint(checkpoint)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod."])
def test_what_a_wrapper_put_before_the_names_is_taken_off(checkpoint, prefix):
    tensors = load_file(checkpoint / WEIGHTS)
    renamed = {prefix + name: tensor for name, tensor in tensors.items()}
    save_file(renamed, checkpoint / WEIGHTS, metadata={"format": "pt"})
    found = read_checkpoint(checkpoint)
    assert found.prefix == prefix
    assert same_weights(found.weights(), tensors)
    state = load_model(found).state_dict()
    assert np.array_equal(state["classifier.weight"].numpy(), tensors["classifier.weight"])


def test_a_prefix_of_some_names_only_is_a_name(checkpoint):
    tensors = load_file(checkpoint / WEIGHTS)
    some = {("model." if index % 2 else "") + name: t for index, (name, t) in enumerate(tensors.items())}
    save_file(some, checkpoint / WEIGHTS)
    assert read_checkpoint(checkpoint).prefix == ""


def adapter(path: Path) -> None:
    (path / WEIGHTS).unlink()
    (path / "adapter_config.json").write_text("{}", encoding="utf-8")
    save_file({"a": np.zeros(1, np.float32)}, path / "adapter_model.safetensors")


def trainer_folder(path: Path) -> None:
    inner = [shutil.copytree(path, path.parent / "copy" / f"checkpoint-{step}") for step in (500, 1500)]
    shutil.rmtree(path)
    path.mkdir()
    for directory in inner:
        shutil.move(directory, path)


def pointer(name: str):
    def spoil(path: Path) -> None:
        text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 99\n"
        (path / name).write_text(text, encoding="ascii")

    return spoil


def pickle(name: str):
    def spoil(path: Path) -> None:
        (path / WEIGHTS).unlink()
        (path / name).write_bytes(b"\x80\x04.")
        (path / "training_args.bin").write_bytes(b"\x80\x04.")

    return spoil


OTHER = {
    "LoRA adapter": (adapter, "merge_and_unload"),
    "Trainer's folder": (trainer_folder, "checkpoint-1500"),
    "LFS pointer of the weights": (pointer(WEIGHTS), "git lfs pull"),
    "LFS pointer of the tokenizer": (pointer("tokenizer.json"), "git lfs pull"),
    "pickle": (pickle("pytorch_model.bin"), "safe_serialization=True"),
    "pickle in pieces": (pickle("pytorch_model-00001-of-00002.bin"), "a pickle"),
    "Lightning's pickle": (pickle("last.ckpt"), "a pickle"),
}


@pytest.mark.parametrize(("spoil", "words"), OTHER.values(), ids=OTHER.keys())
def test_what_is_no_checkpoint_gets_the_line_that_helps(checkpoint, spoil, words):
    spoil(checkpoint)
    with pytest.raises(CheckpointError, match=words) as caught:
        read_checkpoint(checkpoint)
    assert len(str(caught.value).splitlines()) == 1


def test_a_path_that_no_system_takes_is_no_checkpoint():
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_checkpoint(Path("x" * 300))


@pytest.mark.parametrize("dtype", [np.float16, np.float64, "bfloat16"])
def test_weights_of_other_widths_are_read(checkpoint, dtype):
    tensors = load_file(checkpoint / WEIGHTS)
    if dtype == "bfloat16":
        dtype = pytest.importorskip("ml_dtypes").bfloat16
    save_file({n: t.astype(dtype) for n, t in tensors.items()}, checkpoint / WEIGHTS)
    found = read_checkpoint(checkpoint).weights()
    assert {tensor.dtype.kind for tensor in found.values()} == {"f"}
    for name, tensor in tensors.items():
        np.testing.assert_allclose(found[name], tensor, rtol=2**-8, atol=1e-6)


def test_norms_that_began_in_tensorflow_are_read(checkpoint):
    tensors = load_file(checkpoint / WEIGHTS)
    old = {n.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): t
           for n, t in tensors.items()}  # fmt: skip
    assert old.keys() != tensors.keys()
    save_file(old, checkpoint / WEIGHTS, metadata={"format": "pt"})
    found = read_checkpoint(checkpoint)
    assert same_weights(found.weights(), tensors)
    load_model(found)


@pytest.mark.parametrize("kind", [str, int, float])
def test_ids_of_labels_are_read_whatever_json_made_of_them(checkpoint, kind):
    edit(checkpoint, label2id={"local": kind(0), "cloud": kind(1)})
    assert read_checkpoint(checkpoint).labels.names == ("local", "cloud")


@pytest.mark.parametrize(
    ("given", "names", "order"),
    [
        ({"0": "weak", "1": "strong"}, "weak=local,strong=cloud", ("local", "cloud")),
        ({"0": "LABEL_0", "1": "LABEL_1"}, "LABEL_0=cloud,LABEL_1=local", ("cloud", "local")),
        ({"0": "Weak", "1": "STRONG"}, "weak = Local, strong = Cloud", ("local", "cloud")),
        ({"0": "a=b", "1": "c"}, "a=b=local,c=cloud", ("local", "cloud")),
    ],
)
def test_labels_of_other_names_are_said_on_export(checkpoint, given, names, order):
    edit(checkpoint, id2label=given, label2id={name: int(i) for i, name in given.items()})
    with pytest.raises(CheckpointError, match="--labels"):
        read_checkpoint(checkpoint)
    assert read_checkpoint(checkpoint, parse_labels(names)).labels.names == order


@pytest.mark.parametrize(
    "names", [{"0": "local", "1": "local"}, {"0": "local", "2": "cloud"}, {"0": "LABEL_0", "1": "LABEL_0"}]
)
def test_a_cure_that_cures_nothing_is_not_named(checkpoint, names):
    edit(checkpoint, id2label=names, label2id=None)
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(checkpoint)
    assert "--labels" not in str(caught.value)


@pytest.mark.parametrize("count", [None, "two", 2])
def test_a_number_of_labels_that_is_none_counts_as_two(checkpoint, count):
    edit(checkpoint, id2label=None, label2id=None, num_labels=count)
    found = read_checkpoint(checkpoint, {"LABEL_0": "cloud", "LABEL_1": "local"})
    assert found.labels.names == ("cloud", "local")


def test_classes_that_the_config_does_not_name_have_the_names_of_transformers(checkpoint):
    edit(checkpoint, id2label=None, label2id=None)
    with pytest.raises(CheckpointError, match="--labels LABEL_0=local,LABEL_1=cloud"):
        read_checkpoint(checkpoint)
    assert read_checkpoint(checkpoint, parse_labels("LABEL_1=local,LABEL_0=cloud")).labels.names == (
        "cloud", "local",
    )  # fmt: skip


@pytest.mark.parametrize(
    "text", ["", "weak", "weak=local", "a=local,b=local", "a=local,b=cloud,c=cloud", "=local,=cloud"]
)
def test_labels_that_do_not_name_both_targets_are_refused(text):
    with pytest.raises(SettingsError, match="--labels"):
        parse_labels(text)


def test_labels_that_the_checkpoint_does_not_have_are_refused(checkpoint):
    edit(checkpoint, id2label={"0": "weak", "1": "strong"}, label2id=None)
    with pytest.raises(CheckpointError, match="weak"):
        read_checkpoint(checkpoint, parse_labels("small=local,large=cloud"))


@pytest.mark.parametrize(
    ("model_type", "pad", "wanted"),
    [
        ("roberta", 1, 512),
        ("xlm-roberta", 1, 512),
        ("mpnet", 1, 512),
        ("camembert", 1, 512),
        ("bert", 0, 514),
    ],
)
def test_positions_that_hold_no_text_are_not_counted(checkpoint, model_type, pad, wanted):
    edit(checkpoint, model_type=model_type, pad_token_id=pad, max_position_embeddings=514)
    assert read_checkpoint(checkpoint).max_positions == wanted


def test_the_padding_token_is_found_in_the_order_of_who_knows_it(checkpoint):
    edit(checkpoint, pad_token_id=7)
    assert read_checkpoint(checkpoint).pad_token_id == 7
    edit(checkpoint, pad_token_id=None, eos_token_id=5)
    (checkpoint / "tokenizer_config.json").write_text('{"pad_token": "[MASK]"}', encoding="utf-8")
    assert read_checkpoint(checkpoint).pad_token_id == 4
    (checkpoint / "tokenizer_config.json").write_text("{}", encoding="utf-8")
    assert read_checkpoint(checkpoint).pad_token_id == 5
