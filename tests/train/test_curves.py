import matplotlib.figure
import pytest

from pointsman.errors import TrainingError
from pointsman.train.curves import draw_curves

HISTORY = [
    {"step": 1.0, "train_loss": 0.7, "validation_ruled_entropy": 0.6, "validation_cosine_distance": 0.0},
    {"step": 2.0, "train_loss": 0.6, "validation_ruled_entropy": 0.5, "validation_cosine_distance": 0.0},
]


def test_each_held_out_loss_gets_a_panel_and_one_that_is_zero_throughout_none(tmp_path, monkeypatch):
    panels = []
    add = matplotlib.figure.Figure.add_subplot
    monkeypatch.setattr(
        matplotlib.figure.Figure, "add_subplot", lambda *a, **k: panels.append(add(*a, **k)) or panels[-1]
    )
    draw_curves(HISTORY, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert [panel.get_title() for panel in panels] == ["ruled entropy, held out"]
    assert list(panels[0].lines[0].get_ydata()) == [0.6, 0.5]


def test_a_run_without_an_evaluation_has_an_empty_picture(tmp_path):
    draw_curves([], tmp_path / "empty.png")
    assert (tmp_path / "empty.png").read_bytes().startswith(b"\x89PNG")


def test_a_disk_that_refuses_is_an_error(tmp_path):
    with pytest.raises(TrainingError, match="cannot write"):
        draw_curves([], tmp_path / "none" / "curves.png")
