"""ONNX Runtime's optimizer is an offer: where it fails, that is said, and nothing is left behind."""

import gc
import tempfile

import onnx
import pytest
from onnx import TensorProto, helper

from pointsman.convert import optimize
from pointsman.errors import ConversionError


def tiny() -> onnx.ModelProto:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "tiny", [value], [out])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def test_a_failure_is_a_conversion_error_without_a_warning(monkeypatch):
    def fails(*_, **__):
        left = tempfile.TemporaryDirectory()
        raise RuntimeError(f"no such pattern in {left.name}")

    monkeypatch.setattr(optimize.optimizer, "optimize_model", fails)
    with pytest.raises(ConversionError, match="no such pattern"):
        optimize.fuse(tiny(), 4, 32)
    gc.collect()


def test_a_graph_with_nothing_to_fuse_has_no_counts():
    assert optimize.fuse(tiny(), 4, 32).counts == {}
