import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.runtime.probability import log_odds


@given(st.floats(-25.0, 25.0))
def test_log_odds_undo_the_sigmoid(odds: float) -> None:
    assert log_odds(1.0 / (1.0 + np.exp(-odds))) == pytest.approx(odds, abs=1e-3)


def test_log_odds_of_never_and_always_are_finite_and_alike() -> None:
    never, always = log_odds([0.0, 1.0])
    assert np.isfinite(never)
    assert always == pytest.approx(-never, rel=1e-4)
