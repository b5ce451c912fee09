"""What `fit` refuses before it exports."""

from types import SimpleNamespace

import numpy as np
import pytest

from pointsman.errors import TrainingError
from pointsman.fit.rows import Rows
from pointsman.fit.run import calibration_of


def learned(sign: float, count: int = 200) -> SimpleNamespace:
    """Margins that point towards the labels of rows, or away from them, with noise."""
    rng = np.random.default_rng(0)
    strong = rng.integers(0, 2, count).astype(float)
    queries = tuple(f"query {at}" for at in range(count))
    nothing = np.zeros(count)
    rows = Rows(queries, nothing, strong, np.ones(count), nothing.astype(int), ({},) * count)
    return SimpleNamespace(
        rows=rows, fit=SimpleNamespace(margins=sign * (strong - 0.5) + rng.normal(size=count))
    )


def test_margins_that_point_towards_the_labels_are_calibrated():
    assert calibration_of(learned(1.0)).a > 0.0


def test_margins_that_point_away_from_them_are_refused():
    with pytest.raises(TrainingError, match=r"nothing was learned .* Keep today's router"):
        calibration_of(learned(-1.0))
