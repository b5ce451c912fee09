"""A MobileBERT classifier as named weights: every variant of its configuration handled or refused by name."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pointsman.convert.algebra import Affine, Matrix, Norm, absorb_norm, compose
from pointsman.errors import CheckpointError, UnsupportedModelError

ACTIVATIONS = ("relu", "gelu", "tanh", "sigmoid")
"""What the folded graph has an operator for."""

Weights = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class MobileBertConfig:
    """The part of `config.json` that decides the arithmetic; sizes in channels, names as Hugging Face's."""

    vocab_size: int = 30522
    hidden_size: int = 512
    num_hidden_layers: int = 24
    num_attention_heads: int = 4
    intermediate_size: int = 512
    hidden_act: str = "relu"
    max_position_embeddings: int = 512
    pad_token_id: int = 0
    embedding_size: int = 128
    trigram_input: bool = True
    use_bottleneck: bool = True
    intra_bottleneck_size: int = 128
    use_bottleneck_attention: bool = False
    key_query_shared_bottleneck: bool = True
    num_feedforward_networks: int = 4
    normalization_type: str = "no_norm"
    classifier_activation: bool = True

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Read a `config.json`; what it leaves out has Hugging Face's default.

        Raises:
            CheckpointError: a value of the wrong type, or sizes that do not go together.
            UnsupportedModelError: a variant that cannot be folded, by name.
        """
        given: dict[str, Any] = {}
        for field in fields(cls):
            name, value = field.name, config.get(field.name)
            if value is None:
                continue
            kind: type = type(field.default)
            if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
                raise CheckpointError(f"config.json: {name}: expected {kind.__name__}, found {value!r}.")
            given[name] = value
        made = cls(**given)
        made._check_sizes()
        made._refuse_what_cannot_fold()
        return made

    @property
    def true_hidden_size(self) -> int:
        """Width of the stream inside a block, in channels."""
        return self.intra_bottleneck_size if self.use_bottleneck else self.hidden_size

    def _check_sizes(self) -> None:
        for name in ("num_hidden_layers", "num_attention_heads", "num_feedforward_networks"):
            if getattr(self, name) < 1:
                raise CheckpointError(
                    f"config.json: {name}: expected at least 1, found {getattr(self, name)}."
                )
        if self.true_hidden_size % self.num_attention_heads:
            raise CheckpointError(
                f"config.json: {self.num_attention_heads} attention heads do not divide "
                f"{self.true_hidden_size} channels."
            )

    def _refuse_what_cannot_fold(self) -> None:
        if self.normalization_type != "no_norm":
            raise UnsupportedModelError(
                f"normalization_type={self.normalization_type!r} is not affine, so there is nothing to fold; "
                "only 'no_norm' is."
            )
        if self.hidden_act not in ACTIVATIONS:
            raise UnsupportedModelError(
                f"hidden_act={self.hidden_act!r}: the folded graph has {', '.join(ACTIVATIONS)}."
            )
        inner = (
            self.use_bottleneck and not self.use_bottleneck_attention and not self.key_query_shared_bottleneck
        )
        if inner and self.hidden_size != self.intra_bottleneck_size:
            raise UnsupportedModelError(
                "key_query_shared_bottleneck=false without use_bottleneck_attention feeds query and key "
                f"{self.hidden_size} channels where they take {self.intra_bottleneck_size}: "
                "no such model can run."
            )


@dataclass(frozen=True, slots=True)
class FeedForward:
    """One feed-forward network: `norm(down(act(up(y))) + y)`."""

    up: Affine
    down: Affine
    norm: Norm


@dataclass(frozen=True, slots=True)
class Block:
    """One block, as the checkpoint has it.

    Attributes:
        query: from the hidden stream, norms and bottleneck already composed in, (inner, hidden).
        key: likewise.
        value: likewise.
        entry: the block's residual input from the hidden stream; None where it is the stream itself.
        attention_output: (inner, inner), and the norm after its residual.
        exit: back to the hidden stream, (hidden, inner), and the norm after its residual; or None.
    """

    query: Affine
    key: Affine
    value: Affine
    entry: Affine | None
    attention_output: tuple[Affine, Norm]
    feed_forwards: tuple[FeedForward, ...]
    exit: tuple[Affine, Norm] | None


@dataclass(frozen=True, slots=True)
class MobileBert:
    """A whole classifier as the checkpoint has it, in float64.

    Attributes:
        word_embeddings: float32 (vocabulary, embedding).
        embedding_transformation: (hidden, 3 x embedding or embedding); None where the sizes agree.
        positions: (positions, hidden).
        token_type: row 0 of the token types, (hidden,): a single query has no other.
        embedding_norm: (hidden,).
        pooler: before the tanh; None without `classifier_activation`.
        classifier: (labels, hidden).
    """

    config: MobileBertConfig
    word_embeddings: NDArray[np.float32]
    embedding_transformation: Affine | None
    positions: Matrix
    token_type: NDArray[np.float64]
    embedding_norm: Norm
    blocks: tuple[Block, ...]
    pooler: Affine | None
    classifier: Affine


def mobilebert_from_weights(config: MobileBertConfig, weights: Weights) -> MobileBert:
    """Give every tensor of a checkpoint its place.

    Raises:
        CheckpointError: a tensor that is missing or of another shape than the configuration says.
    """
    source = _Tensors(weights)
    c = config
    words = source.tensor("mobilebert.embeddings.word_embeddings.weight", (c.vocab_size, c.embedding_size))
    wide = c.embedding_size * (3 if c.trigram_input else 1)
    transformed = c.trigram_input or c.embedding_size != c.hidden_size
    embeddings = "mobilebert.embeddings"
    types = weights.get(f"{embeddings}.token_type_embeddings.weight")
    if types is None or types.ndim != 2 or types.shape[1] != c.hidden_size or not len(types):
        raise CheckpointError(
            f"{embeddings}.token_type_embeddings.weight: expected (types, {c.hidden_size})."
        )
    return MobileBert(
        config=c,
        word_embeddings=words.astype(np.float32),
        embedding_transformation=source.affine(f"{embeddings}.embedding_transformation", c.hidden_size, wide)
        if transformed
        else None,
        positions=source.tensor(
            f"{embeddings}.position_embeddings.weight", (c.max_position_embeddings, c.hidden_size)
        ).astype(np.float64),
        token_type=types[0].astype(np.float64),
        embedding_norm=source.norm(f"{embeddings}.LayerNorm", c.hidden_size),
        blocks=tuple(_block(c, source, f"mobilebert.encoder.layer.{i}") for i in range(c.num_hidden_layers)),
        pooler=source.affine("mobilebert.pooler.dense", c.hidden_size, c.hidden_size)
        if c.classifier_activation
        else None,
        classifier=source.affine("classifier", None, c.hidden_size),
    )


def _block(c: MobileBertConfig, source: "_Tensors", name: str) -> Block:
    inner, hidden = c.true_hidden_size, c.hidden_size

    def bottleneck(part: str) -> Affine:
        return absorb_norm(*source.normed(f"{name}.bottleneck.{part}", inner, hidden))

    entry = bottleneck("input") if c.use_bottleneck else None
    attention, value_input = entry, entry
    if c.use_bottleneck and not c.use_bottleneck_attention:
        attention = bottleneck("attention") if c.key_query_shared_bottleneck else None
        value_input = None

    def projection(part: str, before: Affine | None) -> Affine:
        linear = source.affine(f"{name}.attention.self.{part}", inner, inner if before else hidden)
        return linear if before is None else compose(linear, before)

    def feed_forward(part: str) -> FeedForward:
        up = source.affine(f"{name}.{part}intermediate.dense", c.intermediate_size, inner)
        return FeedForward(up, *source.normed(f"{name}.{part}output", inner, c.intermediate_size))

    parts = (*(f"ffn.{j}." for j in range(c.num_feedforward_networks - 1)), "")
    return Block(
        query=projection("query", attention),
        key=projection("key", attention),
        value=projection("value", value_input),
        entry=entry,
        attention_output=source.normed(f"{name}.attention.output", inner, inner),
        feed_forwards=tuple(map(feed_forward, parts)),
        exit=source.normed(f"{name}.output.bottleneck", hidden, inner) if c.use_bottleneck else None,
    )


class _Tensors:
    """Tensors by name, each checked for its shape on the way out."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights

    def tensor(self, name: str, shape: tuple[int | None, ...]) -> NDArray[Any]:
        value = self._weights.get(name)
        wanted = "x".join("any" if size is None else str(size) for size in shape)
        if value is None:
            others = sorted(other for other in self._weights if not other.startswith("mobilebert."))
            head = (
                f" Beside the encoder: {', '.join(others[:4]) or 'nothing; train it as a classifier first'}."
            )
            raise CheckpointError(
                f"model.safetensors: {name} is missing (expected shape {wanted})."
                f"{head if name.startswith('classifier') else ''}"
            )
        fits = value.ndim == len(shape) and all(
            w in (None, s) for w, s in zip(shape, value.shape, strict=True)
        )
        if not fits:
            raise CheckpointError(f"model.safetensors: {name}: expected shape {wanted}, found {value.shape}.")
        if value.dtype.kind != "f":
            raise CheckpointError(
                f"model.safetensors: {name}: expected floating point, found {value.dtype}. "
                "Export the checkpoint that was quantized."
            )
        return value

    def affine(self, name: str, out: int | None, width: int) -> Affine:
        weight = self.tensor(f"{name}.weight", (out, width)).astype(np.float64)
        return Affine(weight, self.tensor(f"{name}.bias", (len(weight),)).astype(np.float64))

    def normed(self, name: str, out: int, width: int) -> tuple[Affine, Norm]:
        """A map and the norm after it."""
        return self.affine(f"{name}.dense", out, width), self.norm(f"{name}.LayerNorm", out)

    def norm(self, name: str, channels: int) -> Norm:
        weight, bias = (
            self.tensor(f"{name}.{part}", (channels,)).astype(np.float64) for part in ("weight", "bias")
        )
        return Norm(weight, bias)
