"""MobileBERT by its definition, in float64 and without any algebra: what the folded graph must equal."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointsman.convert.mobilebert import MobileBertConfig

TINY: dict[str, Any] = {
    "vocab_size": 60,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 20,
    "max_position_embeddings": 32,
    "embedding_size": 8,
    "intra_bottleneck_size": 16,
}


def random_weights(
    config: MobileBertConfig, seed: int, *, norm: float = 0.5, labels: int = 2
) -> dict[str, NDArray[Any]]:
    """Every tensor of a checkpoint, float32; NoNorm scales lie in 1 - norm .. 1 + norm; padding is zero."""
    rng = np.random.default_rng(seed)
    tensors: dict[str, NDArray[Any]] = {}

    def linear(name: str, out: int, width: int) -> None:
        tensors[f"{name}.weight"] = rng.standard_normal((out, width)) / math.sqrt(width)
        tensors[f"{name}.bias"] = rng.standard_normal(out) * 0.1

    def nonorm(name: str, channels: int) -> None:
        tensors[f"{name}.weight"] = rng.uniform(1 - norm, 1 + norm, channels)
        tensors[f"{name}.bias"] = rng.standard_normal(channels) * 0.1

    c, inner = config, config.true_hidden_size
    words = rng.standard_normal((c.vocab_size, c.embedding_size))
    words[c.pad_token_id] = 0.0
    e = "mobilebert.embeddings"
    tensors[f"{e}.word_embeddings.weight"] = words
    tensors[f"{e}.position_embeddings.weight"] = (
        rng.standard_normal((c.max_position_embeddings, c.hidden_size)) * 0.3
    )
    tensors[f"{e}.token_type_embeddings.weight"] = rng.standard_normal((2, c.hidden_size)) * 0.3
    linear(f"{e}.embedding_transformation", c.hidden_size, c.embedding_size * (3 if c.trigram_input else 1))
    nonorm(f"{e}.LayerNorm", c.hidden_size)
    for i in range(c.num_hidden_layers):
        name = f"mobilebert.encoder.layer.{i}"
        if c.use_bottleneck:
            for part in ("input", "attention"):
                linear(f"{name}.bottleneck.{part}.dense", inner, c.hidden_size)
                nonorm(f"{name}.bottleneck.{part}.LayerNorm", inner)
            linear(f"{name}.output.bottleneck.dense", c.hidden_size, inner)
            nonorm(f"{name}.output.bottleneck.LayerNorm", c.hidden_size)
        bottled = not c.use_bottleneck or c.use_bottleneck_attention
        linear(f"{name}.attention.self.query", inner, inner)
        linear(f"{name}.attention.self.key", inner, inner)
        linear(f"{name}.attention.self.value", inner, inner if bottled else c.hidden_size)
        linear(f"{name}.attention.output.dense", inner, inner)
        nonorm(f"{name}.attention.output.LayerNorm", inner)
        networks = [
            (f"ffn.{j}.intermediate.dense", f"ffn.{j}.output") for j in range(c.num_feedforward_networks - 1)
        ]
        for up, down in [*networks, ("intermediate.dense", "output")]:
            linear(f"{name}.{up}", c.intermediate_size, inner)
            linear(f"{name}.{down}.dense", inner, c.intermediate_size)
            nonorm(f"{name}.{down}.LayerNorm", inner)
    if c.classifier_activation:
        linear("mobilebert.pooler.dense", c.hidden_size, c.hidden_size)
    linear("classifier", labels, c.hidden_size)
    return {name: tensor.astype(np.float32) for name, tensor in tensors.items()}


def logits_by_definition(
    config: MobileBertConfig,
    weights: dict[str, NDArray[Any]],
    ids: NDArray[np.int64],
    mask: NDArray[np.int64],
    dtype: type = np.float64,
) -> NDArray[Any]:
    """Logits (batch, labels), every norm applied where the checkpoint has it, all of it in `dtype`."""
    w = {name: tensor.astype(dtype) for name, tensor in weights.items()}

    def linear(name: str, x: NDArray[Any]) -> NDArray[Any]:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def nonorm(name: str, x: NDArray[Any]) -> NDArray[Any]:
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    h = _embeddings(config, w, ids, mask.astype(dtype), linear, nonorm)
    bias = np.where(mask[:, None, None, :] > 0, 0.0, -np.inf).astype(dtype)
    for i in range(config.num_hidden_layers):
        h = _layer(config, f"mobilebert.encoder.layer.{i}", h, bias, linear, nonorm)
    assert h.dtype == dtype
    first = h[:, 0]
    if config.classifier_activation:
        first = np.tanh(linear("mobilebert.pooler.dense", first))
    return linear("classifier", first)


def _embeddings(config: Any, w: Any, ids: Any, mask: Any, linear: Any, nonorm: Any) -> NDArray[Any]:
    e = "mobilebert.embeddings"
    # A query's answer is its answer alone: what stands on padding is nothing.
    words = w[f"{e}.word_embeddings.weight"][ids] * mask[:, :, None]
    if config.trigram_input:
        none = np.zeros_like(words[:, :1])
        words = np.concatenate(
            [
                np.concatenate([words[:, 1:], none], axis=1),
                words,
                np.concatenate([none, words[:, :-1]], axis=1),
            ],
            axis=2,
        )
    if config.trigram_input or config.embedding_size != config.hidden_size:
        words = linear(f"{e}.embedding_transformation", words)
    positions = w[f"{e}.position_embeddings.weight"][: ids.shape[1]]
    return nonorm(f"{e}.LayerNorm", words + positions + w[f"{e}.token_type_embeddings.weight"][0])


def _layer(config: Any, name: str, h: Any, bias: Any, linear: Any, nonorm: Any) -> NDArray[Any]:
    query = key = value = entry = h
    if config.use_bottleneck:
        entry = nonorm(f"{name}.bottleneck.input.LayerNorm", linear(f"{name}.bottleneck.input.dense", h))
        if config.use_bottleneck_attention:
            query = key = value = entry
        elif config.key_query_shared_bottleneck:
            shared = linear(f"{name}.bottleneck.attention.dense", h)
            query = key = nonorm(f"{name}.bottleneck.attention.LayerNorm", shared)
    heads = config.num_attention_heads

    def split(x: Any) -> Any:
        return x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)

    q, k, v = (
        split(linear(f"{name}.attention.self.{part}", x))
        for part, x in (("query", query), ("key", key), ("value", value))
    )
    scores = q @ k.transpose(0, 1, 3, 2) / q.dtype.type(math.sqrt(q.shape[-1])) + bias
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    context = (weights @ v).transpose(0, 2, 1, 3).reshape(*h.shape[:2], -1)
    y = nonorm(
        f"{name}.attention.output.LayerNorm", linear(f"{name}.attention.output.dense", context) + entry
    )
    act = {
        "relu": lambda x: np.maximum(x, 0.0),
        "gelu": _gelu,
        "tanh": np.tanh,
        "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    }
    networks = [
        (f"ffn.{j}.intermediate.dense", f"ffn.{j}.output") for j in range(config.num_feedforward_networks - 1)
    ]
    for up, down in [*networks, ("intermediate.dense", "output")]:
        inside = act[config.hidden_act](linear(f"{name}.{up}", y))
        y = nonorm(f"{name}.{down}.LayerNorm", linear(f"{name}.{down}.dense", inside) + y)
    if not config.use_bottleneck:
        return y
    return nonorm(f"{name}.output.bottleneck.LayerNorm", linear(f"{name}.output.bottleneck.dense", y) + h)


def _gelu(x: NDArray[Any]) -> NDArray[Any]:
    erf = np.vectorize(math.erf)(x / math.sqrt(2.0)).astype(x.dtype)
    return 0.5 * x * (1.0 + erf)
