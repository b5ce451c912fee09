"""Small graphs with every kind of product that the limit looks for."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

VOCABULARY, WIDTH = 11, 4


def write_graph(path: Path, nodes: list[onnx.NodeProto], constants: dict[str, object]) -> Path:
    """A model from token ids to logits: words are gathered into `words`, the last node makes `logits`."""
    words = np.random.default_rng(1).standard_normal((VOCABULARY, WIDTH)).astype(np.float32)
    initializers = [numpy_helper.from_array(words, "table")]
    initializers += [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    gather = helper.make_node("Gather", ["table", "input_ids"], ["words"])
    dims = ["batch", "sequence"]
    graph = helper.make_graph(
        [gather, *nodes],
        "toy",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, dims)
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        initializers,
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return path
