import pytest
import torch

from pointsman.train.precision import has_bfloat16, reading_dtype, tiny_as_zero

pytestmark = pytest.mark.torch


def tiny() -> float:
    return float((torch.tensor([1e-38]) * torch.tensor([0.1])).item())


def test_numbers_too_small_are_zero_for_a_while_only():
    with pytest.raises(KeyError), tiny_as_zero():
        assert tiny() == 0.0
        raise KeyError
    assert tiny() > 0.0


def test_bfloat16_is_for_processors_that_have_it():
    assert reading_dtype() is (torch.bfloat16 if has_bfloat16() else torch.float32)
