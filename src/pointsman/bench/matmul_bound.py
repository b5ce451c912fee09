"""How fast could this model be? Its matrix products alone, in a graph of their own.

The model is run once with the operands of its products as further outputs, so their shapes are read, not
derived. Then a graph is written that holds those products and nothing else: same operator, same weights,
same shapes. No bias, no residual, no activation, no softmax, no quantization. Attention counts with its
products: the projection that a fused operator holds, queries times keys, and probabilities times values.
The time of that graph under the same runtime and threads is what the kernels need; the model's time beyond
it is what folding can still win.
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

CONTRIB = "com.microsoft"


@dataclass(frozen=True, slots=True)
class Form:
    """Where an operator keeps the operands of its product with a constant.

    Attributes:
        operands: indices of the inputs that the bare product takes, in its order, the left operand first;
            -1 for one that it goes without. Bias and residual are not among them.
        right: index of the right operand, which must be constant.
        quantized: index of the zero point of a quantized result, which gives its type; -1 for none.
        bare: operator and domain of the bare product; None for the same operator.
    """

    operands: tuple[int, ...]
    right: int = 1
    dtype: int = TensorProto.FLOAT
    quantized: int = -1
    bare: tuple[str, str] | None = None


FORMS = {
    "MatMul": Form((0, 1)),
    "Gemm": Form((0, 1)),
    "FusedMatMul": Form((0, 1)),
    "FusedGemm": Form((0, 1), bare=("Gemm", "")),
    "MatMulNBits": Form((0, 1, 2, 3)),
    "DynamicQuantizeMatMul": Form((0, 1, 2, 3)),
    "MatMulIntegerToFloat": Form((0, 1, 2, 3, 4, 5)),
    "MatMulInteger": Form((0, 1, 2, 3), dtype=TensorProto.INT32),
    "QGemm": Form((0, 1, 2, 3, 4, 5, -1, 7, 8), right=3, quantized=8),
    "QLinearMatMul": Form((0, 1, 2, 3, 4, 5, 6, 7), right=3, quantized=7),
    "Attention": Form((0, 1), bare=("MatMul", "")),
    "QAttention": Form((0, 1, 3, 4, 6, 7), bare=("MatMulIntegerToFloat", CONTRIB)),
}
"""Operators with a constant matrix to multiply by, in both of ONNX Runtime's domains."""

FUSED_ATTENTION = ("Attention", "QAttention", "MultiHeadAttention")
"""Operators that hold the two products of attention, whose operands are both computed."""

_PLAIN = ("MatMul", "FusedMatMul")
_KEPT_ATTRIBUTES = ("transA", "transB", "alpha")
_ELEMENTS = {"uint8": TensorProto.UINT8, "int8": TensorProto.INT8, "float32": TensorProto.FLOAT}


@dataclass(frozen=True, slots=True)
class Products:
    """What a graph of bare products holds.

    Attributes:
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
    constants = {item.name: item for item in graph_as_run.graph.initializer}
    bare = _BareGraph(constants, _run_once(graph_as_run, constants, batch, length))
    for node in graph_as_run.graph.node:
        if _multiplies_by_a_constant(node, constants):
            bare.by_a_constant(node)
        if node.op_type in FUSED_ATTENTION:
            bare.attention(node)
        elif node.op_type in _PLAIN and not constants.keys() & set(node.input):
            bare.computed(node)
    if not bare.constant_products:
        raise ConversionError(f"{model.name}: no matrix product with constant weights was found.")
    onnx.save(bare.model(graph_as_run), output)
    operators: dict[str, int] = {}
    for made in bare.nodes:
        operators[made.op_type] = operators.get(made.op_type, 0) + 1
    return Products(len(bare.nodes), operators, bare.operations / 1e6)


def _as_run(model: Path, path: Path) -> onnx.ModelProto:
    """The graph after ONNX Runtime's own fusions: the operators that really run."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 3
    ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return onnx.load(path)


def _multiplies_by_a_constant(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> bool:
    form = FORMS.get(node.op_type)
    return form is not None and node.input[form.right] in constants and node.input[0] not in constants


def _operands_to_watch(
    nodes: Iterable[onnx.NodeProto], constants: dict[str, onnx.TensorProto]
) -> dict[str, None]:
    """Computed operands of products, by name, in order."""
    names: dict[str, None] = {}
    for node in nodes:
        if node.op_type in FORMS or node.op_type in FUSED_ATTENTION:
            names |= {name: None for name in node.input[:2] if name and name not in constants}
    return names


def _run_once(
    model: onnx.ModelProto, constants: dict[str, onnx.TensorProto], batch: int, length: int
) -> dict[str, NDArray[Any]]:
    """Run the model once and catch every product's computed operands; name to value."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    known = {item.name for item in (*watched.graph.output, *watched.graph.input)}
    names = [name for name in _operands_to_watch(model.graph.node, constants) if name not in known]
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
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


class _BareGraph:
    """Products in the making; `operations` counts multiplications and additions."""

    def __init__(self, constants: dict[str, onnx.TensorProto], values: dict[str, NDArray[Any]]) -> None:
        self._constants, self._values = constants, values
        self._inputs: dict[str, onnx.ValueInfoProto] = {}
        self._outputs: list[onnx.ValueInfoProto] = []
        self._used: dict[str, onnx.TensorProto] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.constant_products = 0
        self.operations = 0

    def by_a_constant(self, node: onnx.NodeProto) -> None:
        """The product of a computed left operand and a constant one."""
        form = FORMS[node.op_type]
        left = self._values[node.input[0]]
        operands = [self._input(left.shape, str(left.dtype))]
        for at in form.operands[1:]:
            operands.append(self._constant(node.input[at], at) if 0 <= at < len(node.input) else "")
        while not operands[-1]:
            operands.pop()
        operator = form.bare or (node.op_type, node.domain)
        attributes = node.attribute
        if form.bare:
            attributes = [item for item in attributes if item.name in _KEPT_ATTRIBUTES]
        columns = _columns(node, self._constants[node.input[form.right]])
        self._add(operator, operands, (*left.shape[:-1], columns), left.shape[-1], attributes)
        self._outputs[-1].type.tensor_type.elem_type = self._result_type(node)
        self.constant_products += 1

    def attention(self, node: onnx.NodeProto) -> None:
        """Queries times keys, and probabilities times values, of a fused operator."""
        query = self._values[node.input[0]].shape
        separate = node.op_type == "MultiHeadAttention"
        width = query[2] if separate else self._constants[node.input[1]].dims[1] // 3
        tokens = self._values[node.input[1]].shape[1] if separate else query[1]
        heads = next(item.i for item in node.attribute if item.name == "num_heads")
        left, right = (query[0], heads, query[1], width // heads), (query[0], heads, tokens, width // heads)
        turned = [helper.make_attribute("transB", 1)]
        self._add(
            ("FusedMatMul", CONTRIB), [*map(self._input, (left, right))], (*left[:3], tokens), left[3], turned
        )
        self._add(("MatMul", ""), [*map(self._input, ((*left[:3], tokens), right))], left, tokens, [])

    def computed(self, node: onnx.NodeProto) -> None:
        """A product of two computed operands, as attention has them where nothing is fused."""
        left, right = (self._values[name].shape for name in node.input[:2])
        flags = {item.name: item.i for item in node.attribute if item.name in ("transA", "transB")}
        inner = left[-2] if flags.get("transA") else left[-1]
        rows = left[-1] if flags.get("transA") else left[-2]
        columns = right[-2] if flags.get("transB") else right[-1]
        operands = [self._input(left), self._input(right)]
        self._add((node.op_type, node.domain), operands, (*left[:-2], rows, columns), inner, node.attribute)

    def model(self, origin: onnx.ModelProto) -> onnx.ModelProto:
        """The graph, for the operator sets of the model that it comes from."""
        graph = helper.make_graph(
            self.nodes, "products", list(self._inputs.values()), self._outputs, list(self._used.values())
        )
        opsets = {item.domain: item.version for item in origin.opset_import} | {CONTRIB: 1}
        imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
        return helper.make_model(graph, opset_imports=imports, ir_version=origin.ir_version)

    def _add(
        self,
        operator: tuple[str, str],
        operands: list[str],
        shape: tuple[int, ...],
        inner: int,
        attributes: Iterable[onnx.AttributeProto],
    ) -> None:
        """Add a product; `operator` is its name and domain, `inner` the length of its sums."""
        name = f"product_{len(self.nodes)}"
        node = helper.make_node(operator[0], operands, [name], name=name, domain=operator[1])
        node.attribute.extend(attributes)
        self.nodes.append(node)
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        self.operations += 2 * int(np.prod(shape)) * inner

    def _input(self, shape: tuple[int, ...], dtype: str = "float32") -> str:
        """The graph's one input of this shape and type."""
        name = f"left_{dtype}_{'x'.join(map(str, shape))}"
        self._inputs[name] = helper.make_tensor_value_info(name, _ELEMENTS[dtype], shape)
        return name

    def _constant(self, operand: str, at: int) -> str:
        """A constant of the model; a placeholder for an operand that only the model's run knows."""
        if not operand:
            return ""
        if operand in self._constants:
            self._used[operand] = self._constants[operand]
            return operand
        name = f"one_{len(self.nodes)}_{at}"
        self._used[name] = _one(at, name)
        return name

    def _result_type(self, node: onnx.NodeProto) -> int:
        form = FORMS[node.op_type]
        if 0 <= form.quantized < len(node.input) and node.input[form.quantized] in self._constants:
            return int(self._constants[node.input[form.quantized]].data_type)
        return form.dtype


def _columns(node: onnx.NodeProto, right: onnx.TensorProto) -> int:
    """How wide the result is."""
    attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    if node.op_type == "MatMulNBits":
        return int(attributes["N"])
    return int(right.dims[0] if attributes.get("transB") else right.dims[-1])


def _one(position: int, name: str) -> onnx.TensorProto:
    """A placeholder for a computed scale (a float 1) or zero point (a 0) of `MatMulIntegerToFloat`."""
    if position == 2:
        return helper.make_tensor(name, TensorProto.FLOAT, [], [1.0])
    return helper.make_tensor(name, TensorProto.UINT8, [], [0])
