"""Int8 for any encoder's graph: its products with weights, over ranges that were calibrated once.

MobileBERT's int8 file is written node by node (`int8`). Any other graph is rewritten where it stands: a
product of activations with a constant becomes `QuantizeLinear` and `MatMulIntegerToFloat`, with one scale and
zero point per activation, so that batch mates cannot matter. Everything else stays float32.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from pointsman.convert.activation_ranges import best_ranges, channel_ranges, magnitudes, row_extremes
from pointsman.convert.calibration_texts import CalibrationTexts
from pointsman.convert.graph_writer import CONTRIB
from pointsman.convert.int8 import Range, quantize_weight

MAGNITUDES_OF = 32
"""Texts that say which layer is largest."""
COVERAGES = (1.0, 0.9995, 0.99)
_SMALLEST_OUTPUT = 16


@dataclass(frozen=True, slots=True)
class StaticReport:
    """How the int8 file was made.

    Attributes:
        covered: share of tokens whose values the ranges hold whole.
        mean_p: mean |difference of p(cloud)| to the float graph on the calibration texts.
        tried: mean_p by coverage.
        magnitudes: where the activations of a product are largest.
    """

    nodes: int
    products: int
    weight_limit: int
    texts: int
    covered: float
    mean_p: float
    tried: dict[str, float]
    magnitudes: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Product:
    """A MatMul or Gemm with a constant weight (out, in), and the constant bias that Gemm adds."""

    node: onnx.NodeProto
    weight: NDArray[np.float64]
    bias: NDArray[np.float32] | None


def quantize_static(
    model: onnx.ModelProto,
    sequences: Sequence[Sequence[int]],
    *,
    cloud_index: int,
    weight_limit: int,
    threads: int,
) -> tuple[onnx.ModelProto, StaticReport] | None:
    """The graph with its products in int8, at the best coverage; None where it has no such product.

    Args:
        model: float32, from `input_ids` and `attention_mask` to `logits`.
        cloud_index: which logit speaks for `cloud`.
        weight_limit: largest magnitude of a weight, 1..127.
    """
    products = _products(model)
    if not products:
        return None
    texts = CalibrationTexts.answered_by(model, sequences, cloud_index, threads)
    inputs = sorted({product.node.input[0] for product in products})
    extremes = row_extremes(model, inputs, sequences, threads=threads)

    def error(ranges: Mapping[str, Range]) -> float:
        return texts.error(_rewritten(model, products, ranges, weight_limit))

    covered, ranges, tried = best_ranges(extremes, COVERAGES, error)
    made = _rewritten(model, products, ranges, weight_limit)
    return made, StaticReport(
        nodes=len(made.graph.node),
        products=len(products),
        weight_limit=weight_limit,
        texts=len(sequences),
        covered=covered,
        mean_p=tried[covered],
        tried={str(one): found for one, found in tried.items()},
        magnitudes=magnitudes(channel_ranges(model, inputs, sequences[:MAGNITUDES_OF], threads=threads)),
    )


def _products(model: onnx.ModelProto) -> list[_Product]:
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    found = []
    for node in model.graph.node:
        settings = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type not in ("MatMul", "Gemm") or node.input[1] not in constants:
            continue
        if settings.get("transA") or settings.get("alpha", 1.0) != 1.0 or settings.get("beta", 1.0) != 1.0:
            continue
        weight = numpy_helper.to_array(constants[node.input[1]])
        third = list(node.input[2:])
        if weight.dtype != np.float32 or weight.ndim != 2 or any(name not in constants for name in third):
            continue
        weight = weight if settings.get("transB") else weight.T
        if len(weight) >= _SMALLEST_OUTPUT:
            bias = numpy_helper.to_array(constants[third[0]]) if third else None
            found.append(_Product(node, weight.astype(np.float64), bias))
    return found


def _rewritten(
    model: onnx.ModelProto, products: Collection[_Product], ranges: Mapping[str, Range], weight_limit: int
) -> onnx.ModelProto:
    made = onnx.ModelProto()
    made.CopyFrom(model)
    by_output = {product.node.output[0]: product for product in products}
    constants: dict[str, NDArray[np.generic]] = {}
    nodes: list[onnx.NodeProto] = []
    quantized: set[str] = set()
    for node in made.graph.node:
        product = by_output.get(node.output[0])
        if product is None:
            nodes.append(node)
            continue
        x = node.input[0]
        if x not in quantized:
            scale, zero = ranges[x].quantization()
            constants |= {f"{x}.scale": np.array(scale, np.float32), f"{x}.zero": np.array(zero, np.uint8)}
            nodes.append(helper.make_node("QuantizeLinear", [x, f"{x}.scale", f"{x}.zero"], [f"{x}.u8"]))
            quantized.add(x)
        nodes.append(_integer_product(product, constants, weight_limit))
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in made.graph.initializer if tensor.name in used]
    del made.graph.initializer[:]
    made.graph.initializer.extend(kept)
    made.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    if CONTRIB not in {item.domain for item in made.opset_import}:
        made.opset_import.append(helper.make_opsetid(CONTRIB, 1))
    return made


def _integer_product(
    product: _Product, constants: dict[str, NDArray[np.generic]], weight_limit: int
) -> onnx.NodeProto:
    """One product over an input that is quantized; its weight and bias are added to the constants."""
    x, out = product.node.input[0], product.node.output[0]
    scales, integers = quantize_weight(product.weight, weight_limit)
    constants[f"{out}.weight"] = np.ascontiguousarray(integers.T)
    constants[f"{out}.weight.scale"] = scales.astype(np.float32)
    constants[f"{out}.weight.zero"] = np.zeros(len(scales), np.int8)
    names = [f"{x}.u8", f"{out}.weight", f"{x}.scale", f"{out}.weight.scale", f"{x}.zero"]
    names.append(f"{out}.weight.zero")
    if product.bias is not None:
        constants[f"{out}.bias"] = np.broadcast_to(product.bias, scales.shape).copy()
        names.append(f"{out}.bias")
    return helper.make_node("MatMulIntegerToFloat", names, [out], domain=CONTRIB)
