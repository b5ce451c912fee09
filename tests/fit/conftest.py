"""A small base and rows of known truth; needs the train extra."""

from importlib.util import find_spec

import numpy as np
import pytest
from tests.support.tiny_mobilebert import EASY, FILL, HARD, tiny_mobilebert

collect_ignore_glob = [] if find_spec("torch") and find_spec("sklearn") else ["test_*.py"]


@pytest.fixture(scope="session")
def base_directory(tmp_path_factory):
    return tiny_mobilebert(tmp_path_factory.mktemp("fit") / "base")


@pytest.fixture(scope="session")
def texts():
    """160 texts of two to nine words."""
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice([*EASY, *HARD, *FILL], rng.integers(2, 10))) for _ in range(160)]
