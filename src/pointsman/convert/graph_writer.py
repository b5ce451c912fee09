"""An ONNX graph in the making: nodes and constants by their names."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 18
CONTRIB = "com.microsoft"
IR_VERSION = 9


class GraphWriter:
    """Nodes and constants in the making; every name is given once."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Add a constant, float64 as float32; the same name is the same constant."""
        if name not in self.constants:
            stored = value.astype(np.float32) if value.dtype == np.float64 else value
            self.constants[name] = numpy_helper.from_array(
                np.ascontiguousarray(stored).reshape(value.shape), name
            )
        return name

    def integers(self, *values: int) -> str:
        """A constant vector of int64."""
        return self.constant(
            "ints_" + "_".join(str(v).replace("-", "m") for v in values), np.array(values, np.int64)
        )

    def node(self, op: str, inputs: Sequence[str], name: str, domain: str = "", **attributes: object) -> str:
        """Add a node with one output, named as the node."""
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, domain=domain, **attributes))
        return name

    def split(self, value: str, parts: int, axis: int, name: str) -> list[str]:
        """Split into equal parts along an axis."""
        outputs = [f"{name}.{i}" for i in range(parts)]
        self.nodes.append(
            helper.make_node("Split", [value], outputs, name=name, axis=axis, num_outputs=parts)
        )
        return outputs

    def model(self, labels: int, description: str) -> onnx.ModelProto:
        """The finished model, with the artifact's input and output names and dynamic axes."""
        tokens = ["batch", "sequence"]
        graph = helper.make_graph(
            self.nodes,
            "mobilebert",
            [
                helper.make_tensor_value_info(n, TensorProto.INT64, tokens)
                for n in ("input_ids", "attention_mask")
            ],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", labels])],
            list(self.constants.values()),
            doc_string=description,
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)]
        return helper.make_model(
            graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="pointsman"
        )
