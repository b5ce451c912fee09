"""Graphs of one or two nodes, for what the tiny router cannot show."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper


def model(
    nodes: Sequence[Any],
    inputs: Sequence[str] = ("input_ids",),
    *,
    constants: dict[str, np.ndarray] | None = None,
    shape: Sequence[str | int] = ("batch", "length"),
    kind: int = TensorProto.INT64,
    columns: int = 2,
) -> bytes:
    graph = helper.make_graph(
        list(nodes),
        "tiny",
        [helper.make_tensor_value_info(name, kind, list(shape)) for name in inputs],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [shape[0], columns])],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 9
    return bytes(made.SerializeToString())


def summed(table: np.ndarray, inputs: Sequence[str] = ("input_ids",), **how: Any) -> bytes:
    """Logits are the sum of the table's rows at `input_ids`, plus the sum of every other input."""
    names = [name for name in inputs if name != "input_ids"]
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("ReduceSum", ["rows", "axes"], ["sum_0"], keepdims=0),
    ]
    for number, name in enumerate(names):
        nodes += [
            helper.make_node("Cast", [name], [f"{name}_float"], to=TensorProto.FLOAT),
            helper.make_node("ReduceSum", [f"{name}_float", "axes"], [f"{name}_sum"], keepdims=1),
            helper.make_node("Add", [f"sum_{number}", f"{name}_sum"], [f"sum_{number + 1}"]),
        ]
    nodes.append(helper.make_node("Identity", [f"sum_{len(names)}"], ["logits"]))
    constants = {"table": table.astype(np.float32), "axes": np.array([1], np.int64)}
    return model(nodes, inputs, constants=constants, columns=table.shape[1], **how)
