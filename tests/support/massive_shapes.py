"""Checkpoints with massive activations, made from any other, as fine-tunes of MobileBERT have them.

Known of `google/mobilebert-uncased`: the last hidden state of `[CLS]` holds values up to 2.5e7 while the
other rows stay within 10 (transformers, issues 8938 and 13990). Here a few channels that nothing needs are
emptied, filled at one position (or all), grown through the norms at the blocks' exits, and read by
every consumer with weights that make them add about `push` to what it computes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Massive:
    """One shape of massive activations.

    Attributes:
        channels: how many channels carry them.
        top: how large they become.
        push: what they add to every value that reads them.
        growth: `early` in the first third of the blocks, `late` in the last, `even` in all; `sum` by one
            large residual branch in the middle instead of by norms.
        where: `[CLS]` (the first position), `[SEP]` (by its word vector), or `all` tokens alike.
    """

    channels: int = 6
    top: float = 2e7
    push: float = 0.05
    growth: str = "even"
    where: str = "[CLS]"


SHAPES: dict[str, Massive] = {
    "few, 2.5e7": Massive(top=2.5e7),
    "few, 1e3": Massive(top=1e3),
    "few, 10": Massive(top=10.0),
    "many, 1e5": Massive(channels=64, top=1e5),
    "early": Massive(growth="early"),
    "late": Massive(growth="late"),
    "by one sum": Massive(growth="sum", top=1e5),
    "read strongly": Massive(push=1.0, top=1e4),
    "read weakly": Massive(push=0.001),
    "at [SEP]": Massive(where="[SEP]", top=1e4),
    "all tokens": Massive(where="all", top=1e3),
    "all tokens, many": Massive(where="all", channels=32, top=60.0, push=0.3),
}


def massive(tensors: Tensors, config: dict[str, Any], shape: Massive, *, sep: int = 102) -> Tensors:
    """The checkpoint's tensors, float32, with massive activations of a shape."""
    made = {name: np.array(tensor, np.float32) for name, tensor in tensors.items()}
    layers, rng = int(config["num_hidden_layers"]), np.random.default_rng(0)
    read = sum(
        np.abs(made[f"mobilebert.encoder.layer.{i}.bottleneck.input.dense.weight"]).sum(axis=0)
        for i in range(layers)
    )
    chosen = np.argsort(read)[: shape.channels]
    _fill(made, chosen, shape, sep)
    size = 1.0
    for layer, factor in enumerate(_factors(shape, layers)):
        block = f"mobilebert.encoder.layer.{layer}."
        readers = [n for n in made if n.startswith(block) and n.endswith("weight")]
        _read(made, readers, chosen, shape.push / size, rng, config)
        leave = f"{block}output.bottleneck."
        made[f"{leave}dense.weight"][chosen] = 0
        made[f"{leave}dense.bias"][chosen] = 0
        made[f"{leave}LayerNorm.weight"][chosen] = 1.0 if shape.growth == "sum" else factor
        made[f"{leave}LayerNorm.bias"][chosen] = 0
        if shape.growth == "sum" and factor > 1.0:
            rows = made[f"{leave}dense.weight"][chosen]
            made[f"{leave}dense.weight"][chosen] = rng.standard_normal(rows.shape) * factor / 10
        size *= factor
    heads = [n for n in made if not n.startswith("mobilebert.e") and made[n].ndim == 2]
    _read(made, heads, chosen, shape.push / size, rng, config)
    return made


def _fill(made: Tensors, chosen: NDArray[np.int64], shape: Massive, sep: int) -> None:
    """1 at the position that carries them, nothing elsewhere."""
    e = "mobilebert.embeddings."
    made[f"{e}embedding_transformation.weight"][chosen] = 0
    made[f"{e}embedding_transformation.bias"][chosen] = 1.0 if shape.where == "all" else 0.0
    for table in ("position_embeddings", "token_type_embeddings"):
        made[f"{e}{table}.weight"][:, chosen] = 0
    if shape.where == "[CLS]":
        made[f"{e}position_embeddings.weight"][0, chosen] = 1
    if shape.where == "[SEP]":
        word = made[f"{e}word_embeddings.weight"][sep]
        width = len(word)
        # The middle third reads the token itself; only its own direction lights the channels up fully.
        made[f"{e}embedding_transformation.weight"][chosen, width : 2 * width] = word / (word @ word)
    made[f"{e}LayerNorm.weight"][chosen] = 1
    made[f"{e}LayerNorm.bias"][chosen] = 0


def _factors(shape: Massive, layers: int) -> Sequence[float]:
    third = max(1, layers // 3)
    growing = {
        "even": range(layers),
        "early": range(third),
        "late": range(layers - third, layers),
        "sum": [layers // 2],
    }[shape.growth]
    each = shape.top ** (1 / len(growing))
    return [each if layer in growing else 1.0 for layer in range(layers)]


def _read(
    made: Tensors,
    names: Sequence[str],
    chosen: NDArray[np.int64],
    push: float,
    rng: np.random.Generator,
    config: dict[str, Any],
) -> None:
    hidden = config["hidden_size"]
    for name in names:
        weight = made[name]
        if weight.ndim == 2 and weight.shape[1] == hidden and "output.bottleneck" not in name:
            drawn = rng.standard_normal((len(weight), len(chosen)))
            weight[:, chosen] = drawn * push / np.sqrt(len(chosen))
