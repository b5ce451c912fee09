import pytest
import torch

from pointsman.train.hidden import HiddenTeacher, hidden_loss, matched_layers
from pointsman.train.teacher import shipped_encoder

pytestmark = pytest.mark.torch


@pytest.mark.parametrize(
    ("depth", "teacher", "wanted"),
    [(6, 6, [1, 2, 3, 4, 5, 6]), (2, 6, [3, 6]), (1, 6, [6]), (12, 6, [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6])],
)
def test_blocks_meet_the_layers_at_their_share_of_the_depth(depth, teacher, wanted):
    assert matched_layers(depth, teacher) == wanted


def test_padding_does_not_count():
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    wanted = torch.zeros(2, 3, 4)
    mine = torch.zeros(2, 3, 4)
    mine[0, 2] = mine[1, 1:] = 100.0
    assert hidden_loss([mine], [wanted], mask) == 0.0
    mine[0, 0] = 3.0
    assert hidden_loss([mine], [wanted], mask) == pytest.approx(3.0)
    assert hidden_loss([mine, wanted], [wanted, wanted], mask) == pytest.approx(1.5)


def test_the_teacher_gives_its_states_for_every_block():
    ids = torch.tensor([[101, 7592, 102]])
    states = HiddenTeacher(shipped_encoder(), 3)(ids, torch.ones_like(ids))
    assert [tuple(state.shape) for state in states] == [(1, 3, 384)] * 3
    assert not any(state.requires_grad for state in states)
    assert not torch.equal(states[0], states[2])
