from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper
from tests.convert.definition import TINY, random_weights
from tests.convert.products import WIDTH, write_graph

from pointsman.bench.matmul_bound import write_products
from pointsman.bench.worker_onnx import open_stock
from pointsman.convert.emit import FloatProducts, emit
from pointsman.convert.fold import FoldedMobileBert, fold
from pointsman.convert.int8 import Int8Products, Range, watched_values
from pointsman.convert.mobilebert import MobileBertConfig, mobilebert_from_weights
from pointsman.errors import ConversionError, InputError

RANDOM = np.random.default_rng(0)


def weight(rows: int, columns: int) -> object:
    return RANDOM.standard_normal((rows, columns)).astype(np.float32)


def float_graph(path: Path) -> Path:
    """3-D MatMul, then a Gemm with a residual over all tokens, then one over first tokens with transB."""
    nodes = [
        helper.make_node("MatMul", ["words", "w1"], ["wide"]),
        helper.make_node("Reshape", ["wide", "rows"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w2", "flat"], ["summed"]),
        helper.make_node("Reshape", ["summed", "back"], ["again"]),
        helper.make_node("Gather", ["again", "zero"], ["first"], axis=1),
        helper.make_node("Gemm", ["first", "w3", "bias"], ["logits"], transB=1),
    ]
    constants = {
        "w1": weight(WIDTH, 6), "w2": weight(6, 6), "w3": weight(2, 6), "zero": np.int64(0),
        "bias": np.zeros(2, np.float32), "rows": np.array([-1, 6]), "back": np.array([-1, 5, 6]),
    }  # fmt: skip
    return write_graph(path, nodes, constants)


def test_products_are_found_with_their_shapes(tmp_path: Path) -> None:
    made = write_products(float_graph(tmp_path / "m.onnx"), tmp_path / "p.onnx", batch=3, length=5)
    assert made.count == 3
    assert made.operators == {"MatMul": 1, "Gemm": 2}
    assert made.mega_operations * 1e6 == 2 * (15 * WIDTH * 6 + 15 * 6 * 6 + 3 * 6 * 2)


def test_the_bare_graph_computes_the_bare_products(tmp_path: Path) -> None:
    write_products(float_graph(tmp_path / "m.onnx"), tmp_path / "p.onnx", batch=1, length=5)
    session = ort.InferenceSession(tmp_path / "p.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    weights = {item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer}
    feed = {item.name: RANDOM.standard_normal(item.shape).astype(np.float32) for item in session.get_inputs()}
    assert sorted(value.shape for value in feed.values()) == [(1, 5, 4), (1, 6), (5, 6)]
    answers = {value.shape: value for value in session.run(None, feed)}
    by_shape = {value.shape: value for value in feed.values()}
    np.testing.assert_allclose(answers[1, 5, 6], by_shape[1, 5, 4] @ weights["w1"], atol=1e-5)
    np.testing.assert_allclose(answers[5, 6], by_shape[5, 6] @ weights["w2"], atol=1e-5)
    np.testing.assert_allclose(answers[1, 2], by_shape[1, 6] @ weights["w3"].T, atol=1e-5)


def int8_graph(path: Path) -> Path:
    """Dynamic quantization, then a static QGemm whose bias and residual do not belong to the product."""
    nodes = [
        helper.make_node("Reshape", ["words", "rows"], ["flat"]),
        helper.make_node(
            "DynamicQuantizeMatMul", ["flat", "w1", "s", "z", "b"], ["dynamic"], domain="com.microsoft"
        ),
        helper.make_node("QuantizeLinear", ["dynamic", "s", "uz"], ["q"]),
        helper.make_node(
            "QGemm", ["q", "s", "uz", "w2", "s", "z", "ib", "s", "uz"], ["q2"], domain="com.microsoft"
        ),
        helper.make_node("QGemm", ["q2", "s", "uz", "w3", "s", "z"], ["logits"], domain="com.microsoft"),
    ]
    constants = {
        "w1": np.ones((WIDTH, 6), np.int8), "w2": np.ones((6, 6), np.int8), "w3": np.ones((6, 2), np.int8),
        "s": np.float32(0.1), "z": np.int8(0), "uz": np.uint8(3), "rows": np.array([-1, WIDTH]),
        "b": np.ones(6, np.float32), "ib": np.ones(6, np.int32),
    }  # fmt: skip
    return write_graph(path, nodes, constants)


def test_quantized_products_keep_their_types(tmp_path: Path) -> None:
    made = write_products(int8_graph(tmp_path / "m.onnx"), tmp_path / "p.onnx", batch=2, length=5)
    assert made.operators == {"DynamicQuantizeMatMul": 1, "QGemm": 2}
    session = ort.InferenceSession(tmp_path / "p.onnx")
    assert sorted((item.type, item.shape) for item in session.get_inputs()) == [
        ("tensor(float)", [10, 4]),
        ("tensor(uint8)", [10, 6]),
    ]
    assert [item.type for item in session.get_outputs()] == [
        "tensor(float)",
        "tensor(uint8)",
        "tensor(float)",
    ]


@pytest.mark.parametrize("make", [float_graph, int8_graph])
def test_the_worker_runs_bare_products_by_shape(tmp_path: Path, make: object) -> None:
    model = make(tmp_path / "m.onnx")  # type: ignore[operator]
    write_products(model, tmp_path / "p.onnx", batch=2, length=5)
    subject = open_stock({"kind": "products", "files": {"2x5": str(tmp_path / "p.onnx")}, "threads": 1})
    ids = np.ones((2, 5), np.int64)
    subject.run(ids, ids)
    with pytest.raises(KeyError):
        subject.run(ids[:1], ids[:1])
    with pytest.raises(InputError, match="tokens only"):
        subject.bulk(["a"])


def test_a_model_without_constant_products_is_refused(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Transpose", ["words"], ["turned"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["words", "turned"], ["logits"]),
    ]
    model = write_graph(tmp_path / "m.onnx", nodes, {})
    with pytest.raises(ConversionError, match="no matrix product with constant"):
        write_products(model, tmp_path / "p.onnx", batch=1, length=5)


def test_stock_onnx_answers_a_batch_and_reads_no_texts_without_a_tokenizer(tmp_path: Path) -> None:
    subject = open_stock({"kind": "onnx", "model": str(float_graph(tmp_path / "m.onnx")), "threads": 1})
    ids = np.ones((2, 5), np.int64)
    assert np.asarray(subject.run(ids, ids)).shape == (2, 2)
    with pytest.raises(InputError, match="without a tokenizer"):
        subject.bulk(["a"])


@pytest.fixture(scope="module")
def folded() -> FoldedMobileBert:
    config = MobileBertConfig.from_config(TINY)
    return fold(mobilebert_from_weights(config, random_weights(config, seed=3)))


@pytest.mark.parametrize("kind", ["float", "int8"])
def test_attention_counts_with_its_projections_and_its_own_products(
    folded: FoldedMobileBert, kind: str, tmp_path: Path
) -> None:
    ranges = {name: Range(-1.0, 1.0) for name in watched_values(folded)}
    onnx.save(emit(folded, FloatProducts() if kind == "float" else Int8Products(ranges)), tmp_path / "m.onnx")
    made = write_products(tmp_path / "m.onnx", tmp_path / "p.onnx", batch=2, length=5)
    last, others = folded.blocks[-1], folded.blocks[:-1]
    inner, hidden = last.attention_output.weight.shape[0], folded.positions.shape[1]
    all_rows, first_rows = 2 * 5, 2
    # Queries times keys, probabilities times values: every query token meets every key token.
    wanted = 2 * 2 * inner * (len(others) * all_rows * 5 + first_rows * 5)
    assert folded.transformation is not None
    wanted += 2 * all_rows * folded.transformation.size
    for block, rows in [(block, all_rows) for block in others] + [(last, first_rows)]:
        entry, leave = block.entry, block.exit
        assert entry is not None and leave is not None
        wanted += 2 * rows * (entry.weight.size + block.attention_output.weight.size + leave.weight.size)
        wanted += 2 * rows * sum(one.up.weight.size + one.down.weight.size for one in block.feed_forwards)
    wanted += 2 * inner * hidden * (3 * len(others) * all_rows + first_rows + 2 * all_rows)
    heads = [folded.pooler, folded.classifier]
    wanted += sum(2 * first_rows * one.weight.size for one in heads if one)
    assert made.mega_operations * 1e6 == wanted
    assert made.operators["FusedMatMul"] == len(folded.blocks)
    ort.InferenceSession(tmp_path / "p.onnx")


def test_products_of_two_computed_operands_are_counted(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["words", "w"], ["wide"]),
        helper.make_node("Transpose", ["wide"], ["turned"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["wide", "turned"], ["logits"]),
    ]
    model = write_graph(tmp_path / "m.onnx", nodes, {"w": weight(WIDTH, 6)})
    made = write_products(model, tmp_path / "p.onnx", batch=3, length=5)
    assert made.count == 2
    assert made.mega_operations * 1e6 == 2 * (15 * WIDTH * 6 + 3 * 5 * 5 * 6)
    ort.InferenceSession(tmp_path / "p.onnx")
