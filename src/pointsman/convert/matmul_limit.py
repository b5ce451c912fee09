"""How fast could this model be? Its matrix products alone, in a graph of their own.

The model is run once with the left operands of its products as further outputs, so their shapes are
read, not derived. Then a graph is written that holds those products and nothing else: same operator,
same weights, same shapes. No bias, no residual, no activation. The time of that graph under the same
runtime and threads is what the kernels need; the model's time beyond it is what folding can still win.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper

from pointsman.errors import ConversionError


@dataclass(frozen=True, slots=True)
class Form:
    """Where an operator keeps its operands.

    Attributes:
        left: index of the left operand.
        right: index of the right operand, which must be constant.
        keep: how many inputs from the first on belong to the product itself, without bias or residual.
        dtype: element type of the result.
        bias: index of an operand within `keep` that does not belong to it; -1 for none.
        quantized: index of the zero point of a quantized result, which gives its type; -1 for none.
    """

    left: int
    right: int
    keep: int
    dtype: int = TensorProto.FLOAT
    bias: int = -1
    quantized: int = -1


FORMS = {
    "MatMul": Form(0, 1, 2),
    "Gemm": Form(0, 1, 2),
    "FusedMatMul": Form(0, 1, 2),
    "FusedGemm": Form(0, 1, 2),
    "MatMulNBits": Form(0, 1, 4),
    "DynamicQuantizeMatMul": Form(0, 1, 4),
    "MatMulIntegerToFloat": Form(0, 1, 6),
    "MatMulInteger": Form(0, 1, 4, TensorProto.INT32),
    "QGemm": Form(0, 3, 9, bias=6, quantized=8),
    "QLinearMatMul": Form(0, 3, 8, quantized=7),
}
"""Operators that are matrix products, in both of ONNX Runtime's domains."""

_BARE = {"FusedGemm": ("Gemm", "")}
_DROPPED_ATTRIBUTES = {"FusedGemm": ("activation", "activation_alpha", "activation_beta", "activation_gamma")}
_ELEMENTS = {"uint8": TensorProto.UINT8, "int8": TensorProto.INT8, "float32": TensorProto.FLOAT}


@dataclass(frozen=True, slots=True)
class Products:
    """What a graph of bare products holds.

    Attributes:
        count: how many products.
        operators: operator to how often.
        mega_operations: multiplications and additions of one call, in millions.
    """

    count: int
    operators: dict[str, int]
    mega_operations: float


def write_products(model: Path, output: Path, *, batch: int, length: int) -> Products:
    """Write the bare matrix products of a model at one input shape.

    Args:
        model: an ONNX file whose inputs are int64 token tensors.
        output: the graph to write; its inputs are one left operand per shape and type.
        batch: rows, at least 1.
        length: tokens of a row, at least 2.

    Raises:
        ConversionError: the model holds no product with constant weights.
    """
    with TemporaryDirectory() as folder:
        graph_as_run = _as_run(model, Path(folder) / "as_run.onnx")
    nodes = list(_products(graph_as_run))
    if not nodes:
        raise ConversionError(f"{model.name}: no matrix product with constant weights was found.")
    lefts = _left_operands(graph_as_run, nodes, batch, length)
    bare, mega_operations = _bare_graph(graph_as_run, nodes, lefts)
    onnx.save(bare, output)
    operators: dict[str, int] = {}
    for node in bare.graph.node:
        operators[node.op_type] = operators.get(node.op_type, 0) + 1
    return Products(len(nodes), operators, mega_operations)


def _as_run(model: Path, path: Path) -> onnx.ModelProto:
    """The graph after ONNX Runtime's own fusions: the operators that really run."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 3
    ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return onnx.load(path)


def _products(model: onnx.ModelProto) -> Iterable[onnx.NodeProto]:
    constants = {item.name for item in model.graph.initializer}
    for node in model.graph.node:
        form = FORMS.get(node.op_type)
        if (
            form is not None
            and node.input[form.right] in constants
            and node.input[form.left] not in constants
        ):
            yield node


def _left_operands(
    model: onnx.ModelProto, nodes: list[onnx.NodeProto], batch: int, length: int
) -> dict[str, NDArray[Any]]:
    """Run the model once and catch every product's left operand; name to value."""
    names = sorted({node.input[FORMS[node.op_type].left] for node in nodes})
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    known = {item.name for item in watched.graph.output}
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    ones = np.ones((batch, length), dtype=np.int64)
    feed = {
        item.name: np.zeros_like(ones) if item.name == "token_type_ids" else ones
        for item in session.get_inputs()
    }
    return dict(zip(names, session.run(names, feed), strict=True))


def _bare_graph(
    model: onnx.ModelProto, nodes: list[onnx.NodeProto], lefts: dict[str, NDArray[Any]]
) -> tuple[onnx.ModelProto, float]:
    """The graph of products, and its millions of operations."""
    constants = {item.name: item for item in model.graph.initializer}
    inputs: dict[str, onnx.ValueInfoProto] = {}
    outputs, bare_nodes, used = [], [], {}
    operations = 0
    for index, node in enumerate(nodes):
        form = FORMS[node.op_type]
        left = lefts[node.input[form.left]]
        columns = _columns(node, constants[node.input[form.right]])
        name = f"left_{left.dtype}_{'x'.join(map(str, left.shape))}"
        inputs[name] = helper.make_tensor_value_info(name, _ELEMENTS[str(left.dtype)], left.shape)
        operands = list(node.input[: form.keep])
        operands[form.left] = name
        if 0 <= form.bias < len(operands):
            operands[form.bias] = ""
        # An operand that only the model's run knows (a scale computed on the way) has no place here.
        for at, operand in enumerate(operands):
            if operand and at != form.left and operand not in constants:
                operands[at], used[f"one_{index}_{at}"] = f"one_{index}_{at}", _one(at, f"one_{index}_{at}")
            elif operand in constants:
                used[operand] = constants[operand]
        bare_nodes.append(_bare_node(node, operands, f"product_{index}"))
        shape = (*left.shape[:-1], columns)
        outputs.append(
            helper.make_tensor_value_info(f"product_{index}", _result_type(node, constants), shape)
        )
        operations += 2 * int(np.prod(left.shape)) * columns
    graph = helper.make_graph(bare_nodes, "products", list(inputs.values()), outputs, list(used.values()))
    opsets = [helper.make_opsetid(item.domain, item.version) for item in model.opset_import]
    return helper.make_model(graph, opset_imports=opsets, ir_version=model.ir_version), operations / 1e6


def _columns(node: onnx.NodeProto, right: onnx.TensorProto) -> int:
    """How wide the result is."""
    attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    if node.op_type == "MatMulNBits":
        return int(attributes["N"])
    return int(right.dims[0] if attributes.get("transB") else right.dims[-1])


def _result_type(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> int:
    form = FORMS[node.op_type]
    if 0 <= form.quantized < len(node.input) and node.input[form.quantized] in constants:
        return int(constants[node.input[form.quantized]].data_type)
    return form.dtype


def _one(position: int, name: str) -> onnx.TensorProto:
    """A stand-in for a computed scale (a float 1) or zero point (a 0) of `MatMulIntegerToFloat`."""
    if position == 2:
        return helper.make_tensor(name, TensorProto.FLOAT, [], [1.0])
    return helper.make_tensor(name, TensorProto.UINT8, [], [0])


def _bare_node(node: onnx.NodeProto, operands: list[str], output: str) -> onnx.NodeProto:
    operator, domain = _BARE.get(node.op_type, (node.op_type, node.domain))
    while operands and not operands[-1]:
        operands.pop()
    bare = helper.make_node(operator, operands, [output], name=output, domain=domain)
    dropped = _DROPPED_ATTRIBUTES.get(node.op_type, ())
    bare.attribute.extend(item for item in node.attribute if item.name not in dropped)
    return bare
