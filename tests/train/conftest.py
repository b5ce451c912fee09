"""A MobileBERT base of the published shape, small enough for a test, and generated queries."""

import random
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.support.tiny_mobilebert import EASY, FILL, HARD, tiny_mobilebert

collect_ignore_glob = [] if find_spec("torch") and find_spec("sklearn") else ["test_*.py"]


def made_queries(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Distinct (query, label) pairs that a bag of words separates."""
    rng = random.Random(seed)
    made: dict[str, str] = {}
    while len(made) < count:
        label = "cloud" if len(made) % 3 == 0 else "local"
        words = [rng.choice(HARD if label == "cloud" else EASY), *rng.choices(FILL, k=rng.randint(2, 9))]
        made[" ".join(words)] = label
    return list(made.items())


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint directory of MobileBERT's shape with one block, seeded."""
    return tiny_mobilebert(tmp_path_factory.mktemp("tiny") / "base")


@pytest.fixture(scope="session")
def queries() -> Callable[..., list[tuple[str, str]]]:
    """Maker of generated (query, label) pairs."""
    return made_queries
