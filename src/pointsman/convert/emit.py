"""The folded form as an ONNX graph: written node by node, no tracing, no exporter.

The same text of the network is emitted in float32 or in int8: a `Products` object says how one matrix
product is made. Everything else (gather, attention, residual sums) is the same in both.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import onnx
from onnx import TensorProto

from pointsman.convert.algebra import Affine, Matrix, Update, Vector, stack
from pointsman.convert.fold import FoldedBlock, FoldedFeedForward, FoldedMobileBert
from pointsman.convert.graph_writer import CONTRIB, GraphWriter

_ACTIVATIONS = {
    "relu": ("Relu", ""),
    "gelu": ("Gelu", CONTRIB),
    "tanh": ("Tanh", ""),
    "sigmoid": ("Sigmoid", ""),
}


class Linear(Protocol):
    """A weight (out, in) and a bias (out,), None without: `Affine`, `Update` or `Unbiased`."""

    @property
    def weight(self) -> Matrix: ...  # noqa: D102 - see the class

    @property
    def bias(self) -> Vector | None: ...  # noqa: D102 - see the class


@dataclass(frozen=True, slots=True)
class Unbiased:
    """A weight alone, (out, in)."""

    weight: Matrix
    bias: None = None


@dataclass(frozen=True, slots=True)
class Heads:
    """Self-attention but for its input.

    Attributes:
        maps: query, key and value stacked, (3 x inner, in).
        shape: name of the input's shape, (batch, sequence, in).
        mask: name of the mask, int32 (batch, sequence).
    """

    maps: Affine
    count: int
    shape: str
    mask: str


class Products(Protocol):
    """How matrix products are made."""

    def words(self, graph: GraphWriter, folded: FoldedMobileBert) -> tuple[str, str]:
        """Gather the word vectors, (batch, sequence, embedding), and name the constant that means zero."""
        ...

    def transformed_words(self, graph: GraphWriter, x: str, weight: Matrix, name: str) -> str:
        """`x @ weight.T` for word vectors, in float32."""
        ...

    def product(self, graph: GraphWriter, x: str, linear: Linear, name: str, residual: str = "") -> str:
        """`x @ weight.T + bias + residual`; x is (rows, in), residual (rows, out)."""
        ...

    def attention(self, graph: GraphWriter, x: str, heads: Heads, name: str) -> str:
        """Self-attention of x (rows, in), reshaped to (batch, sequence, inner)."""
        ...

    def activated(self, graph: GraphWriter, x: str, network: FoldedFeedForward, op: str, name: str) -> str:
        """`act(x @ up.weight.T + up.bias)`, in whatever form `product` takes next."""
        ...


class FloatProducts:
    """Products in float32: one Gemm each, the residual as its third input."""

    def words(self, graph: GraphWriter, folded: FoldedMobileBert) -> tuple[str, str]:
        """Word vectors, float32."""
        table = graph.constant("words", folded.words)
        words = graph.node("Gather", [table, "input_ids"], "embeddings.words")
        return words, graph.constant("zero", np.zeros((), np.float32))

    def transformed_words(self, graph: GraphWriter, x: str, weight: Matrix, name: str) -> str:
        """One Gemm."""
        return self.product(graph, x, Unbiased(weight), name)

    def product(self, graph: GraphWriter, x: str, linear: Linear, name: str, residual: str = "") -> str:
        """One Gemm; where there is a bias and a residual, an Add before it."""
        inputs = [x, graph.constant(f"{name}.weight", linear.weight.T)]
        if linear.bias is not None:
            inputs.append(graph.constant(f"{name}.bias", linear.bias))
        if residual and linear.bias is not None:
            inputs[-1] = graph.node("Add", [residual, inputs[-1]], f"{name}.biased")
        elif residual:
            inputs.append(residual)
        return graph.node("Gemm", inputs, name)

    def attention(self, graph: GraphWriter, x: str, heads: Heads, name: str) -> str:
        """One `Attention`: it projects straight to heads, so nothing is split or copied before."""
        tokens = graph.node("Reshape", [x, heads.shape], f"{name}.tokens")
        weight = graph.constant(f"{name}.weight", heads.maps.weight.T)
        bias = graph.constant(f"{name}.bias", heads.maps.bias)
        inputs = [tokens, weight, bias, heads.mask]
        return graph.node("Attention", inputs, name, domain=CONTRIB, num_heads=heads.count)

    def activated(self, graph: GraphWriter, x: str, network: FoldedFeedForward, op: str, name: str) -> str:
        """A Gemm and its activation; ONNX Runtime fuses the two where it is a ReLU."""
        linear = self.product(graph, x, network.up, f"{name}.up")
        return activation(graph, linear, op, f"{name}.act")


def activation(graph: GraphWriter, x: str, kind: str, name: str) -> str:
    """The node of one activation."""
    op, domain = _ACTIVATIONS[kind]
    return graph.node(op, [x], name, domain=domain)


def emit(folded: FoldedMobileBert, products: Products, description: str = "") -> onnx.ModelProto:
    """Write the whole graph: `input_ids`, `attention_mask` int64 (batch, sequence) to `logits` float32."""
    graph = GraphWriter()
    network = _Emitter(graph, products, folded)
    stream = network.embeddings()
    for index, block in enumerate(folded.blocks[:-1]):
        stream = network.block(stream, block, f"block.{index}")
    first = network.last_block(stream, folded.blocks[-1], f"block.{len(folded.blocks) - 1}")
    network.head(first)
    return graph.model(len(folded.classifier.bias), description)


class _Emitter:
    """The network's text, once, over a way of making products."""

    def __init__(self, graph: GraphWriter, products: Products, folded: FoldedMobileBert) -> None:
        self.graph, self.products, self.folded = graph, products, folded
        self.hidden = folded.positions.shape[1]
        self.inner = folded.blocks[0].attention_output.weight.shape[0]
        self.shape = graph.node("Shape", ["input_ids"], "shape")
        self._shapes: dict[int, str] = {}
        self.mask = graph.node("Cast", ["attention_mask"], "mask", to=TensorProto.INT32)

    def embeddings(self) -> str:
        """Words with their neighbours, plus the position table; (batch x sequence, hidden)."""
        g, folded = self.graph, self.folded
        words, zero = self.products.words(g, folded)
        if folded.mask_words:
            real = g.node("Cast", ["attention_mask"], "mask.bool", to=TensorProto.BOOL)
            column = g.node("Unsqueeze", [real, g.integers(-1)], "mask.column")
            words = g.node("Where", [column, words, zero], "embeddings.masked")
        if folded.trigram:
            words = self._trigram(words, zero)
        length = g.node("Slice", [self.shape, g.integers(1), g.integers(2)], "length")
        start, axis = g.integers(0), g.integers(0)
        positions = g.node(
            "Slice", [g.constant("positions", folded.positions), start, length, axis], "positions.used"
        )
        if folded.transformation is None:
            assert folded.word_scale is not None
            scaled = g.node(
                "Mul", [words, g.constant("embeddings.scale", folded.word_scale)], "embeddings.scaled"
            )
            return self._rows(
                g.node("Add", [scaled, positions], "embeddings"), self.hidden, "embeddings.rows"
            )
        width = folded.transformation.shape[1]
        words = self._rows(words, width, "embeddings.in")
        linear = self.products.transformed_words(g, words, folded.transformation, "embeddings.transformation")
        tokens = self._tokens(linear, self.hidden, "embeddings.tokens")
        summed = g.node("Add", [tokens, positions], "embeddings")
        return self._rows(summed, self.hidden, "embeddings.rows")

    def _trigram(self, words: str, zero: str) -> str:
        g = self.graph
        padded = g.node("Pad", [words, g.integers(0, 1, 0, 0, 1, 0), zero], "embeddings.padded")
        one, end = g.integers(1), g.integers(np.iinfo(np.int64).max)
        following = g.node("Slice", [padded, g.integers(2), end, one], "embeddings.next")
        previous = g.node("Slice", [padded, g.integers(0), g.integers(-2), one], "embeddings.previous")
        return g.node("Concat", [following, words, previous], "embeddings.trigram", axis=2)

    def block(self, stream: str, block: FoldedBlock, name: str) -> str:
        """One block; (batch x sequence, hidden) to the same."""
        heads = Heads(block.query_key_value, self.folded.heads, self._shape(self.hidden), self.mask)
        context = self.products.attention(self.graph, stream, heads, f"{name}.attention")
        start = stream
        if block.entry is not None:
            start = self.products.product(self.graph, stream, block.entry, f"{name}.entry")
        rows = self._rows(context, self.inner, f"{name}.context")
        return self._after_attention(rows, start, stream, block, name)

    def last_block(self, stream: str, block: FoldedBlock, name: str) -> str:
        """The last block for the first token only; (batch x sequence, hidden) to (batch, hidden)."""
        g, inner, qkv = self.graph, self.inner, block.query_key_value
        key_value = Affine(qkv.weight[inner:], qkv.bias[inner:])
        projected = self.products.product(g, stream, key_value, f"{name}.kv")
        tokens = self._tokens(projected, 2 * inner, f"{name}.kv.tokens")
        key, value = g.split(tokens, 2, 2, f"{name}.kv.parts")
        all_tokens = self._tokens(stream, self.hidden, f"{name}.tokens")
        first = g.node(
            "Gather", [all_tokens, g.constant("first", np.zeros((), np.int64))], f"{name}.first", axis=1
        )
        query_map = Affine(qkv.weight[:inner], qkv.bias[:inner])
        together = stack([query_map, block.entry]) if block.entry else query_map
        one = self.products.product(g, first, together, f"{name}.project")
        query, *entry = g.split(one, 2, 1, f"{name}.parts") if block.entry else [one]
        query = g.node("Unsqueeze", [query, g.integers(1)], f"{name}.query")
        context = g.node(
            "MultiHeadAttention",
            [query, key, value, "", self.mask],
            f"{name}.attention",
            domain=CONTRIB,
            num_heads=self.folded.heads,
        )
        context = self._rows(context, inner, f"{name}.context")
        return self._after_attention(context, entry[0] if entry else first, first, block, name)

    def head(self, first: str) -> None:
        """Pooler and classifier, in float: they are small, and their error would be the answer's."""
        g, folded = self.graph, self.folded
        floats = FloatProducts()
        if folded.pooler:
            pooled = floats.product(g, first, folded.pooler, "pooler")
            first = g.node("Tanh", [pooled], "pooler.tanh")
        floats.product(g, first, folded.classifier, "logits")

    def _after_attention(self, context: str, start: str, stream: str, block: FoldedBlock, name: str) -> str:
        z = self._update(block.attention_output, context, start, f"{name}.attention_output")
        for index, network in enumerate(block.feed_forwards):
            part = f"{name}.ffn.{index}"
            hidden = self.products.activated(self.graph, z, network, self.folded.activation, part)
            z = self._update(network.down, hidden, z, f"{part}.down")
        return z if block.exit is None else self._update(block.exit, z, stream, f"{name}.exit")

    def _update(self, update: Update, x: str, residual: str, name: str) -> str:
        if update.gain is not None:
            gain = self.graph.constant(f"{name}.gain", update.gain)
            residual = self.graph.node("Mul", [residual, gain], f"{name}.gained")
        return self.products.product(self.graph, x, update, name, residual)

    def _shape(self, width: int) -> str:
        """The shape (batch, sequence, width)."""
        if width not in self._shapes:
            joined = [self.shape, self.graph.integers(width)]
            self._shapes[width] = self.graph.node("Concat", joined, f"shape.{width}", axis=0)
        return self._shapes[width]

    def _tokens(self, value: str, width: int, name: str) -> str:
        """Rows back to (batch, sequence, width)."""
        return self.graph.node("Reshape", [value, self._shape(width)], name)

    def _rows(self, value: str, width: int, name: str) -> str:
        return self.graph.node("Reshape", [value, self.graph.integers(-1, width)], name)
