import random
from dataclasses import replace

import pytest
import torch

from pointsman.errors import TrainingError
from pointsman.train.data import Example
from pointsman.train.state import (
    claim_directory,
    content_of,
    content_of_model,
    load_state,
    replaced,
    save_state,
    write_json,
)

pytestmark = pytest.mark.torch


def test_a_state_comes_back_as_it_was(tmp_path):
    save_state(tmp_path / "s", {"w": torch.arange(3.0)}, {"step": 7, "history": [{"score": 0.5}]})
    tensors, facts = load_state(tmp_path / "s")
    assert tensors["w"].tolist() == [0.0, 1.0, 2.0]
    assert facts == {"step": 7, "history": [{"score": 0.5}]}
    assert not list((tmp_path / "s").glob("*.partial"))


def test_nothing_saved_is_nothing_found(tmp_path):
    assert load_state(tmp_path) is None


def test_a_full_disk_keeps_the_last_good_state(tmp_path, monkeypatch):
    save_state(tmp_path, {"w": torch.zeros(2)}, {"step": 1})

    def full(tensors, path, metadata=None):
        path.write_bytes(b"half a file")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pointsman.train.state.save_file", full)
    with pytest.raises(TrainingError, match=r"No space left on device.*last good state stays"):
        save_state(tmp_path, {"w": torch.ones(2)}, {"step": 2})
    tensors, facts = load_state(tmp_path)
    assert facts["step"] == 1
    assert tensors["w"].sum() == 0
    assert not list(tmp_path.glob("*.partial"))


def test_a_directory_belongs_to_one_run(tmp_path):
    claim_directory(tmp_path / "run", {"seed": 1, "files": ("a.csv",)})
    claim_directory(tmp_path / "run", {"seed": 1, "files": ["a.csv"]})
    with pytest.raises(TrainingError, match=r"other settings \(seed\)"):
        claim_directory(tmp_path / "run", {"seed": 2, "files": ["a.csv"]})


def test_a_directory_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="cannot use"):
        claim_directory(tmp_path / "file" / "run", {})


def test_json_has_no_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"loss": float("nan")})


def test_a_torn_or_altered_state_is_said_and_never_resumed(tmp_path):
    save_state(
        tmp_path / "s", {"w": torch.arange(300.0), "b": torch.ones((), dtype=torch.bfloat16)}, {"step": 7}
    )
    path = tmp_path / "s" / "state.safetensors"
    whole = path.read_bytes()
    draw = random.Random(0)
    altered = [whole[: draw.randrange(len(whole))] for _ in range(50)] + [whole + b"\0"]
    for _ in range(300):
        at = draw.randrange(len(whole))
        altered.append(whole[:at] + bytes([whole[at] ^ (1 << draw.randrange(8))]) + whole[at + 1 :])
    for data in altered:
        path.write_bytes(data)
        with pytest.raises(TrainingError, match=r"is torn or was altered.*Remove"):
            load_state(tmp_path / "s")
    path.write_bytes(whole)
    assert load_state(tmp_path / "s")[1] == {"step": 7}


def test_the_content_of_data_is_its_texts_and_labels_in_order():
    one, other = Example("a", 1.0, "s", False), Example("a", 0.0, "s", False)
    assert content_of([one, other]) == content_of([replace(one), replace(other)])
    assert (
        len({content_of(part) for part in ([one, other], [other, one], [one], [replace(one, query="b")])})
        == 4
    )


def test_a_model_of_the_same_name_is_told_by_its_files(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name / "model").mkdir(parents=True)
        (tmp_path / name / "model" / "config.json").write_text(f'"{name}"')
    assert content_of_model(tmp_path / "a" / "model") != content_of_model(tmp_path / "b" / "model")
    assert content_of_model("owner/name") is content_of_model(None) is None


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_directory_is_replaced_whole_or_not_at_all(tmp_path, error):
    place = tmp_path / "checkpoint"
    with replaced(place) as partial:
        (partial / "a").write_text("first")
    expected = TrainingError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected), replaced(place) as partial:
        (partial / "a").write_text("second")
        raise error
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]
    assert (place / "a").read_text() == "first"
    with replaced(place) as partial:
        (partial / "b").write_text("third")
    assert [path.name for path in place.iterdir()] == ["b"]
