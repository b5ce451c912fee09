"""A MobileBERT base of the published shape, small enough for a test, and generated queries."""

import random
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

collect_ignore_glob = [] if find_spec("torch") and find_spec("sklearn") else ["test_*.py"]

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
EASY = ["hello", "thanks", "play", "lights", "weather", "timer"]
HARD = ["analyze", "prove", "derive", "design", "evaluate", "strategy"]
FILL = ["the", "a", "please", "now", "for", "me", "today", "my", "room", "report", "of", "and", "with", "it"]


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
    import torch
    import transformers

    directory = tmp_path_factory.mktemp("tiny") / "base"
    directory.mkdir()
    (directory / "vocab.txt").write_text("\n".join([*SPECIAL, *EASY, *HARD, *FILL]) + "\n", encoding="utf-8")
    transformers.BertTokenizerFast(vocab=str(directory / "vocab.txt")).save_pretrained(directory)
    torch.manual_seed(0)
    config = transformers.MobileBertConfig(
        vocab_size=len(SPECIAL) + len(EASY) + len(HARD) + len(FILL),
        hidden_size=32,
        embedding_size=16,
        intra_bottleneck_size=16,
        num_attention_heads=2,
        intermediate_size=32,
        num_hidden_layers=1,
        num_feedforward_networks=2,
        num_labels=2,
    )
    transformers.MobileBertForSequenceClassification(config).save_pretrained(directory)
    return directory


@pytest.fixture
def queries() -> Callable[..., list[tuple[str, str]]]:
    """Maker of generated (query, label) pairs."""
    return made_queries
