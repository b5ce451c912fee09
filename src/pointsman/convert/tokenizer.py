"""The tokenizer as an artifact holds it: it reads what the checkpoint's reads, cuts at the limit, never pads.

A training leaves its own padding in `tokenizer.json`, often to one fixed length. This package ignores it, but
a foreign reader of the artifact would pay for 128 tokens at every greeting. Where the padding token is not
number 0, padding to the longest text of a batch says which one it is.
"""

from pathlib import Path

from tokenizers import Tokenizer

from pointsman.artifact.manifest import Limits


def artifact_tokenizer(file: Path, limits: Limits, pad_id: int = 0) -> str:
    """The text of the artifact's `tokenizer.json`, from the checkpoint's, which has been checked."""
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_padding()
    if pad_id:
        tokenizer.enable_padding(pad_id=pad_id, pad_token=tokenizer.id_to_token(pad_id) or "[PAD]")
    tokenizer.enable_truncation(max_length=limits.max_tokens)
    text: str = tokenizer.to_str()
    return text
