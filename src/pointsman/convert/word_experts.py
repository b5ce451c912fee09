"""The last step on a graph: the word experts beside the network, in standard operators."""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pointsman.checkpoint.word_experts import OPINION_LIMIT, UNIT, WordExperts
from pointsman.errors import ConversionError

_PREFIX = "word_experts"
_LENGTHS = 512
"""The graph takes texts of up to this number of tokens, or of `max_tokens` where that is more."""
_OPINION_UNIT = OPINION_LIMIT / 2**23
"""Shares of opinions are rounded to whole ones, about 2^23 in all at most: float32 sums are exact."""


def add_word_experts(
    model: onnx.ModelProto, experts: WordExperts, *, cloud_index: int, max_tokens: int
) -> onnx.ModelProto:
    """The same graph, whose margin grows by that of the experts.

    Every sum is over whole multiples of a power of two that float32 holds exactly, and the rest is done row
    by row: what a text gets depends on its own tokens alone, to the last bit.

    Args:
        model: from `input_ids` and `attention_mask` to `logits` of two labels, opset 13 or later.
        experts: of the same vocabulary.
        cloud_index: which logit speaks for `cloud`.
        max_tokens: the longest text that the graph is asked about.

    Raises:
        ConversionError: float32 sums over `max_tokens` rows of the table would not be exact.
    """
    if max_tokens > experts.exact_tokens:
        raise ConversionError(
            f"word experts: sums over {max_tokens} tokens are not exact in float32; this table allows "
            f"{experts.exact_tokens}. Export with --max-length {experts.exact_tokens} or less."
        )
    made = onnx.ModelProto()
    made.CopyFrom(model)
    for node in made.graph.node:
        for index, name in enumerate(node.output):
            if name == "logits":
                node.output[index] = f"{_PREFIX}.network"
    ids = next(value for value in made.graph.input if value.name == "input_ids")
    integer = helper.tensor_dtype_to_np_dtype(ids.type.tensor_type.elem_type)
    constants = _constants(experts, cloud_index, max_tokens)
    constants["none"] = np.array(len(experts.table), integer)
    made.graph.initializer.extend(
        numpy_helper.from_array(value, f"{_PREFIX}.{name}") for name, value in constants.items()
    )
    made.graph.node.extend(_nodes())
    return made


def _constants(experts: WordExperts, cloud_index: int, max_tokens: int) -> dict[str, Any]:
    """The numbers of the graph; padding, and every token of which nothing is known, has one row of zeros.

    The table is in two bytes, because ONNX Runtime's build for WebGPU cannot cast int16.
    """
    topics, lengths = experts.topics, np.arange(max(max_tokens, _LENGTHS) + 1)
    known = np.append(experts.table.any(axis=1), False)
    table = np.vstack([np.zeros_like(experts.table[:1]), experts.table[known[:-1]]])
    halves = np.full(2, -_OPINION_UNIT / 2, np.float32)
    halves[cloud_index] *= -1
    limit = np.float32(OPINION_LIMIT / _OPINION_UNIT)
    return {
        "row": np.where(known, np.cumsum(known), 0).astype(np.int32),
        "high": (table >> 8).astype(np.int8),
        "low": (table & 255).astype(np.uint8),
        "high_unit": np.float32(256.0),
        "units": np.repeat([UNIT, UNIT / _OPINION_UNIT], [topics, experts.count]).astype(np.float32),
        "gate_bias": experts.gate_bias,
        "level": experts.level / np.float32(_OPINION_UNIT),
        "expert": experts.expert,
        "least": -limit,
        "most": limit,
        "per_root": (1.0 / np.sqrt(np.maximum(lengths, 1))).astype(np.float32),
        "halves": halves,
        "axis": np.array([1], np.int64),
        "parts": np.array([topics, experts.count], np.int64),
    }


def _nodes() -> list[onnx.NodeProto]:
    def node(op: str, inputs: str, outputs: str, **attributes: object) -> onnx.NodeProto:
        ins, outs = (
            [n if n in ("input_ids", "attention_mask", "logits") else f"{_PREFIX}.{n}" for n in names.split()]
            for names in (inputs, outputs)
        )
        return helper.make_node(op, ins, outs, name=f"{_PREFIX}.{outputs.split()[0]}", **attributes)

    return [
        node("Cast", "attention_mask", "real", to=TensorProto.BOOL),
        node("Where", "real input_ids none", "ids"),
        node("Gather", "row ids", "places"),
        node("Gather", "high places", "high_bytes"),
        node("Cast", "high_bytes", "high_rows", to=TensorProto.FLOAT),
        node("ReduceSum", "high_rows axis", "high_sums", keepdims=0),
        node("Mul", "high_sums high_unit", "high_parts"),
        node("Gather", "low places", "low_bytes"),
        node("Cast", "low_bytes", "low_rows", to=TensorProto.FLOAT),
        node("ReduceSum", "low_rows axis", "low_parts", keepdims=0),
        node("Add", "high_parts low_parts", "sums"),
        node("ReduceSum", "attention_mask axis", "length"),
        node("Gather", "per_root length", "scale"),
        node("Mul", "sums scale", "scaled"),
        node("Mul", "scaled units", "opinions"),
        node("Split", "opinions parts", "gate said", axis=1),
        node("Add", "gate gate_bias", "biased"),
        node("Softmax", "biased", "shares"),
        node("Gather", "said expert", "own", axis=1),
        node("Add", "own level", "levelled"),
        node("Clip", "levelled least most", "cut"),
        node("Mul", "shares cut", "gated"),
        node("Round", "gated", "whole"),
        # Not one Gemm, nor what is fused to one: it may start its sum from the network's logits.
        node("ReduceSum", "whole axis", "total"),
        node("Mul", "total halves", "margins"),
        node("Add", "margins network", "logits"),
    ]
