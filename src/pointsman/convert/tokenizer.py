"""The tokenizer as an artifact holds it: it reads what the checkpoint's reads, cuts at the limit, never pads.

A training leaves its own padding in `tokenizer.json`, often to one fixed length. This package ignores it, but
a foreign reader of the artifact would pay for 128 tokens at every greeting.
"""

from pathlib import Path

from tokenizers import Tokenizer

from pointsman.artifact.manifest import Limits


def artifact_tokenizer(file: Path, limits: Limits) -> str:
    """The text of the artifact's `tokenizer.json`, from the checkpoint's, which has been checked."""
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length=limits.max_tokens)
    text: str = tokenizer.to_str()
    return text
