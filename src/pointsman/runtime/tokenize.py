"""Text to token ids, with the same limits everywhere: routing, parity, benchmark.

It never pads. Text is cut at `max_chars` before the tokenizer sees it, because a tokenizer reads all of
a text before it truncates: a megabyte of exclamation marks would cost seconds.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from tokenizers import Tokenizer

from pointsman.artifact.manifest import Limits
from pointsman.errors import ArtifactError, InputError
from pointsman.runtime.readability import is_unreadable, word_weights

_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Encoding:
    """One text as the model reads it.

    Attributes:
        ids: token ids with the special ones, 1..max_tokens; one padding token where there is none at all.
        truncated: the text went on after what the model reads.
        is_empty: nothing but the special tokens.
        is_unreadable: most of the words are foreign to the model or unknown.
    """

    ids: list[int]
    truncated: bool
    is_empty: bool
    is_unreadable: bool = False


class TextEncoder:
    """A tokenizer with the artifact's limits; `pad_id` is the token that fills a batch up."""

    def __init__(self, tokenizer_json: bytes, limits: Limits, scripts: Sequence[str] = ()) -> None:
        """Load the text of a `tokenizer.json`; without `scripts` every text is readable.

        Raises:
            ArtifactError: the tokenizer library does not take it.
        """
        try:
            self._tokenizer = Tokenizer.from_buffer(tokenizer_json)
        except BaseException as error:
            if not _is_tokenizer_failure(error):
                raise
            raise ArtifactError(f"tokenizer.json is not a usable tokenizer: {error}") from None
        self.pad_id: int = (self._tokenizer.padding or {}).get("pad_id", 0)
        self._special_tokens: int = self._tokenizer.num_special_tokens_to_add(is_pair=False)
        self._tokenizer.no_padding()
        # `[SEP]` in a text is five characters that a person wrote, not the end of what the model reads.
        self._tokenizer.encode_special_tokens = True
        self._tokenizer.enable_truncation(max_length=limits.max_tokens)
        self._limits = limits
        self._weights = word_weights(self._tokenizer.get_vocab(), scripts) if scripts else []

    def encode_many(self, texts: Iterable[str]) -> list[Encoding]:
        """Encode texts, in order.

        Raises:
            InputError: something that is not a string, or that the tokenizer cannot read; one string
                instead of many, which would be read as one text a letter.
        """
        texts = list(checked_texts(texts))
        for index, text in enumerate(texts):
            if not isinstance(text, str):
                raise InputError(f"text {index}: expected a string, found {type(text).__name__}.")
        cut = [bounded_text(text, self._limits) for text in texts]
        try:
            encoded = self._tokenizer.encode_batch_fast(cut)
        except BaseException as error:
            if not _is_tokenizer_failure(error):
                raise
            raise InputError(f"the tokenizer cannot read the text: {type(error).__name__}.") from None
        return [
            Encoding(
                ids=item.ids or [self.pad_id],
                truncated=bool(item.overflowing) or len(text) > self._limits.max_chars,
                is_empty=len(item.ids) <= self._special_tokens,
                is_unreadable=bool(self._weights) and is_unreadable(item.ids, self._weights),
            )
            for text, item in zip(texts, encoded, strict=True)
        ]


def checked_texts(texts: Iterable[str]) -> Iterator[str]:
    """Texts one by one; raises InputError where they stand in no order, or are one string."""
    if isinstance(texts, str):
        raise InputError("expected a list of strings, found one string. Use route() for one.")
    try:
        if isinstance(texts, bytes | bytearray | Mapping | Set):
            raise TypeError
        return iter(texts)
    except TypeError:  # a numpy array without a dimension, too
        found = type(texts).__name__
        raise InputError(f"expected strings in an order, such as a list, found {found}.") from None


def bounded_text(text: str, limits: Limits) -> str:
    """What a tokenizer is given of a text: its beginning, without lone surrogates (no UTF-8 holds them)."""
    return _SURROGATES.sub("\ufffd", text[: limits.max_chars])


def _is_tokenizer_failure(error: BaseException) -> bool:
    """Whether the tokenizer library failed: its Rust panics are BaseExceptions, beyond `except Exception`."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"
