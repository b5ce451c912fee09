"""Int8 products whose answer depends on the query alone.

ONNX Runtime's dynamic quantization takes one activation scale per tensor and call, so a query's answer
moves with its batch mates and its padding. Here every activation has one scale, calibrated once: a row of
a product depends on that row and nothing else, so the invariance holds by construction.

Activations are unsigned 8 bit with a zero point, weights signed 8 bit with one scale per output channel.
Weights stay within +-63: on AVX2 without VNNI two products of 255 x 127 would overflow the 16-bit
intermediate of `vpmaddubsw` and saturate silently; 255 x 63 x 2 does not.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pointsman.convert.algebra import Matrix, Vector
from pointsman.convert.emit import FloatProducts, Heads, Linear, Unbiased
from pointsman.convert.fold import FoldedFeedForward, FoldedMobileBert
from pointsman.convert.graph_writer import CONTRIB, GraphWriter
from pointsman.convert.options import SAFE_LIMIT
from pointsman.convert.word_rounding import round_words

_WORD_ZERO = 128

WORDS = "embeddings.transformation"


@dataclass(frozen=True, slots=True)
class Range:
    """What an activation's values lie between; 0 is always inside."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= 0.0 <= self.high:
            raise ValueError(f"a range must contain 0, found {self.low}..{self.high}")

    def quantization(self) -> tuple[float, int]:
        """Scale and zero point (0..255) of unsigned 8 bit over this range."""
        scale = max(self.high - self.low, 1e-12) / 255.0
        return scale, round(-self.low / scale)


@dataclass(frozen=True, slots=True)
class _Quantized:
    """A uint8 value in the graph: its name, its scale and zero point, and the constants' names."""

    name: str
    scale: float
    scale_name: str
    zero_name: str


@dataclass(frozen=True, slots=True)
class QuantizedWords:
    """Word vectors in 8 bit: `scale * integers`; (channels,) and int8 (vocabulary, channels)."""

    scale: Vector
    integers: NDArray[np.int8]


def quantize_words(folded: FoldedMobileBert) -> QuantizedWords | None:
    """The word vectors in 8 bit, rounded for the transformation that reads them; None where there is none."""
    if folded.transformation is None:
        return None
    scale = np.maximum(np.abs(folded.words).max(axis=0).astype(np.float64), 1e-12) / 127.0
    return QuantizedWords(scale, round_words(folded.words, scale, folded.transformation))


class Int8Products:
    """Products in int8: `QGemm` over calibrated activations."""

    def __init__(
        self,
        ranges: Mapping[str, Range],
        weight_limit: int = SAFE_LIMIT,
        kept_float: Collection[str] = (),
        words: "QuantizedWords | None" = None,
    ) -> None:
        """Take calibrated ranges by the names that the float graph gives its values.

        Args:
            weight_limit: largest magnitude of a weight, 1..127.
            kept_float: names from `units` whose products stay in float32.
            words: from `quantize_words`; None quantizes them when they are asked for.
        """
        self._ranges = ranges
        self._limit = weight_limit
        self._kept_float = kept_float
        self._known: dict[str, _Quantized] = {}
        self._words = words

    def words(self, graph: GraphWriter, folded: FoldedMobileBert) -> tuple[str, str]:
        """Word vectors as uint8 with one scale per channel, which the transformation's weights take over."""
        if folded.transformation is None or WORDS in self._kept_float:
            return FloatProducts().words(graph, folded)
        self._words = self._words or quantize_words(folded)
        assert self._words is not None
        table = (self._words.integers.astype(np.int16) + _WORD_ZERO).astype(np.uint8)
        gathered = graph.node("Gather", [graph.constant("words", table), "input_ids"], "embeddings.words")
        return gathered, graph.constant("words.zero", np.array(_WORD_ZERO, np.uint8))

    def transformed_words(self, graph: GraphWriter, x: str, weight: Matrix, name: str) -> str:
        """The product of the uint8 words, whose scales stand in the weights."""
        if WORDS in self._kept_float:
            return FloatProducts().transformed_words(graph, x, weight, name)
        assert self._words is not None
        scale = np.tile(self._words.scale, weight.shape[1] // len(self._words.scale))
        one = graph.constant("words.scale", np.array(1.0, np.float32))
        self._known[x] = _Quantized(x, 1.0, one, graph.constant("words.zero", np.array(_WORD_ZERO, np.uint8)))
        return self.product(graph, x, Unbiased(weight * scale), name)

    def product(self, graph: GraphWriter, x: str, linear: Linear, name: str, residual: str = "") -> str:
        """One QGemm to float32, and the residual added in float32."""
        if name.removesuffix(".down") in self._kept_float:
            return FloatProducts().product(graph, x, linear, name, residual)
        inputs = self._inputs(graph, x, linear, name)
        if not residual:
            return graph.node("QGemm", inputs, name, domain=CONTRIB)
        return graph.node(
            "Add", [graph.node("QGemm", inputs, f"{name}.product", domain=CONTRIB), residual], name
        )

    def attention(self, graph: GraphWriter, x: str, heads: Heads, name: str) -> str:
        """One `QAttention`: projections in int8, the attention itself in float32."""
        if name in self._kept_float:
            return FloatProducts().attention(graph, x, heads, name)
        a = self._quantized(graph, x)
        tokens = graph.node("Reshape", [a.name, heads.shape], f"{name}.tokens")
        scales, integers = quantize_weight(heads.maps.weight, self._limit)
        inputs = [
            tokens,
            graph.constant(f"{name}.weight", integers.T),
            graph.constant(f"{name}.bias", heads.maps.bias),
            a.scale_name,
            graph.constant(f"{name}.weight.scale", scales.astype(np.float32)),
            heads.mask,
            a.zero_name,
            graph.constant(f"zeros.i8.{len(scales)}", np.zeros(len(scales), np.int8)),
        ]
        return graph.node("QAttention", inputs, name, domain=CONTRIB, num_heads=heads.count)

    def activated(self, graph: GraphWriter, x: str, network: FoldedFeedForward, op: str, name: str) -> str:
        """For a ReLU one QGemm to uint8 with zero point 0: saturation at 0 is the ReLU, and costs nothing."""
        if op != "relu" or name in self._kept_float:
            return FloatProducts().activated(graph, x, network, op, name)
        out = f"{name}.act"
        scale = max(self._ranges[out].high, 1e-12) / 255.0
        made = _Quantized(
            out,
            scale,
            graph.constant(f"{out}.scale", np.array(scale, np.float32)),
            graph.constant("zero.u8", np.array(0, np.uint8)),
        )
        inputs = self._inputs(graph, x, network.up, f"{name}.up", one_scale=True)
        graph.node("QGemm", [*inputs, made.scale_name, made.zero_name], out, domain=CONTRIB)
        self._known[out] = made
        return out

    def _inputs(
        self, graph: GraphWriter, x: str, linear: Linear, name: str, *, one_scale: bool = False
    ) -> list[str]:
        """QGemm's inputs: A, its scale and zero point; B, its scales and zero points; C."""
        a = self._quantized(graph, x)
        scales, integers = quantize_weight(linear.weight, self._limit)
        if one_scale and np.ptp(scales) <= 1e-9 * scales[0]:
            scales = scales[:1]
        inputs = [
            a.name,
            a.scale_name,
            a.zero_name,
            graph.constant(f"{name}.weight", integers.T),
            graph.constant(f"{name}.weight.scale", scales.astype(np.float32)),
            graph.constant(f"zeros.i8.{len(scales)}", np.zeros(len(scales), np.int8)),
        ]
        if linear.bias is None:
            return [*inputs, ""]
        limit = np.iinfo(np.int32).max // 2
        steps = np.clip(np.rint(linear.bias / (a.scale * scales)), -limit, limit)
        return [*inputs, graph.constant(f"{name}.bias", steps.astype(np.int32))]

    def _quantized(self, graph: GraphWriter, x: str) -> _Quantized:
        if x not in self._known:
            scale, zero = self._ranges[x].quantization()
            scale_name = graph.constant(f"{x}.scale", np.array(scale, np.float32))
            zero_name = graph.constant(f"{x}.zero", np.array(zero, np.uint8))
            name = graph.node("QuantizeLinear", [x, scale_name, zero_name], f"{x}.u8")
            self._known[x] = _Quantized(name, scale, scale_name, zero_name)
        return self._known[x]


def quantize_weight(weight: Matrix, limit: int = SAFE_LIMIT) -> tuple[Vector, NDArray[np.int8]]:
    """Round a weight to signed 8 bit, one scale per output channel.

    Args:
        weight: (out, in).
        limit: the largest magnitude, 1..127.

    Returns:
        scales float64 (out,) and integers int8 (out, in), with `weight ~ scales[:, None] * integers`.
    """
    largest = np.abs(weight).max(axis=1)
    scales = np.where(largest > 0, largest, 1.0) / limit
    return scales, np.clip(np.rint(weight / scales[:, None]), -limit, limit).astype(np.int8)


def watched_values(folded: FoldedMobileBert) -> list[str]:
    """Names of the float graph's values that need a range: every product's input."""
    names = ["embeddings.rows"]
    last = len(folded.blocks) - 1
    for index, block in enumerate(folded.blocks):
        name = f"block.{index}"
        names += [f"{name}.context", f"{name}.attention_output"]
        names += [f"{name}.first"] if index == last else []
        for network in range(len(block.feed_forwards)):
            names += [f"{name}.ffn.{network}.act", f"{name}.ffn.{network}.down"]
        names += [f"{name}.exit"] if block.exit is not None else []
    final = f"block.{last}.exit" if folded.blocks[-1].exit is not None else f"block.{last}.ffn.{network}.down"
    return [name for name in names if name != final]


def units(folded: FoldedMobileBert) -> list[str]:
    """Names of what is in int8 or float32 as a whole: every product, a feed-forward network's two as one."""
    names = [] if folded.transformation is None else [WORDS]
    last = len(folded.blocks) - 1
    for index, block in enumerate(folded.blocks):
        name = f"block.{index}"
        names += [f"{name}.kv", f"{name}.project"] if index == last else [f"{name}.attention"]
        names += [f"{name}.entry"] if block.entry is not None and index != last else []
        names += [f"{name}.attention_output"]
        names += [f"{name}.ffn.{network}" for network in range(len(block.feed_forwards))]
        names += [f"{name}.exit"] if block.exit is not None else []
    return names
