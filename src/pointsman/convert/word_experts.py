"""The last step on a graph: the word experts beside the network, in standard operators."""

import math
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pointsman.checkpoint.word_experts import UNIT, WordExperts
from pointsman.errors import ConversionError

_PREFIX = "word_experts"
_LENGTHS = 512
"""The graph takes texts of up to this number of tokens, or of `max_tokens` where that is more."""


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
    """The numbers of the graph; padding has a row of zeros.

    The experts count in units of which no opinion has 2^24 or more: rounded to whole ones, they sum exactly.
    """
    count, lengths = experts.count, np.arange(max(max_tokens, _LENGTHS) + 1)
    table = np.vstack([experts.table, np.zeros((1, 2 * count), np.int16)]) * UNIT
    bias = np.concatenate([experts.gate_bias, experts.expert_bias]).astype(np.float64)
    largest = np.abs(table[:, count:]).max() * math.sqrt(lengths[-1]) + np.abs(bias[count:]).max()
    unit = 2.0 ** (math.ceil(math.log2(largest + 1.0)) - 24)
    table[:, count:] /= unit
    bias[count:] /= unit
    halves = np.full((count, 2), -unit / 2, np.float32)
    halves[:, cloud_index] *= -1
    return {
        "table": table.astype(np.float32),
        "bias": bias.astype(np.float32),
        "per_root": (1.0 / np.sqrt(np.maximum(lengths, 1))).astype(np.float32),
        "halves": halves,
        "axis": np.array([1], np.int64),
        "parts": np.array([count, count], np.int64),
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
        node("Gather", "table ids", "rows"),
        node("ReduceSum", "rows axis", "sums", keepdims=0),
        node("ReduceSum", "attention_mask axis", "length"),
        node("Gather", "per_root length", "scale"),
        node("Mul", "sums scale", "scaled"),
        node("Add", "scaled bias", "biased"),
        node("Split", "biased parts", "gate said", axis=1),
        node("Softmax", "gate", "shares"),
        node("Mul", "shares said", "gated"),
        node("Round", "gated", "whole"),
        node("Gemm", "whole halves network", "logits"),
    ]
