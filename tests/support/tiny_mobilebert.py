"""A MobileBERT of the published shape, small enough to train in a test, and the words that it knows."""

from collections.abc import Sequence
from pathlib import Path

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
EASY = ["hello", "thanks", "play", "lights", "weather", "timer"]
HARD = ["analyze", "prove", "derive", "design", "evaluate", "strategy"]
FILL = ["the", "a", "please", "now", "for", "me", "today", "my", "room", "report", "of", "and", "with", "it"]


def tiny_mobilebert(directory: Path, words: Sequence[str] = (*EASY, *HARD, *FILL)) -> Path:
    """A checkpoint directory with one block, seeded, that knows these words."""
    import torch
    import transformers

    directory.mkdir(parents=True)
    (directory / "vocab.txt").write_text("\n".join([*SPECIAL, *words]) + "\n", encoding="utf-8")
    transformers.BertTokenizerFast(vocab=str(directory / "vocab.txt")).save_pretrained(directory)
    torch.manual_seed(0)
    config = transformers.MobileBertConfig(
        vocab_size=len(SPECIAL) + len(words),
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
