import pytest

from pointsman.errors import TrainingError
from pointsman.train.curves import draw_curves


def test_a_history_becomes_a_picture(tmp_path):
    history = [{"step": 1.0, "train_loss": 0.7}, {"step": 2.0, "train_loss": 0.6, "validation_entropy": 0.5}]
    draw_curves(history, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    draw_curves([], tmp_path / "empty.png")


def test_a_disk_that_refuses_is_an_error(tmp_path):
    with pytest.raises(TrainingError, match="cannot write"):
        draw_curves([], tmp_path / "none" / "curves.png")
