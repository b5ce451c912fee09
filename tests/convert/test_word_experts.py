"""The word experts in a graph: what they add, to the last bit whatever stands beside a text, and exports."""

import json
import shutil

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from tests.convert.tiny_checkpoint import VOCABULARY, write_checkpoint, write_other

from pointsman.checkpoint.word_experts import WordExperts
from pointsman.convert.build import export
from pointsman.convert.checkpoint import read_checkpoint
from pointsman.convert.options import ExportOptions, Shape
from pointsman.convert.validation import validate
from pointsman.convert.word_experts import add_word_experts
from pointsman.errors import CheckpointError, ConversionError
from pointsman.runtime.router import Router
from pointsman.runtime.session import SessionConfig
from pointsman.train.scoring import CheckpointScorer

pytestmark = pytest.mark.slow

SIZE = len(VOCABULARY)
OWN = np.array([0.1234567, -3.3333333], np.float32)
"""No whole multiples of a unit: what is added to them in another order is another number."""
SIGNS = np.array([-0.5, 0.5], np.float32)

TOPICS = {1: 1, 2: 2, 3: 5, 7: 90}
"""Of a number of experts: alone, one each, some that share one, and as many as the default router has."""


def experts_of(count: int) -> WordExperts:
    rng, topics = np.random.default_rng(0), TOPICS[count]
    table = np.clip(rng.normal(size=(SIZE, topics + count)) * 0.7, -7, 7)
    table[::5] = 0.0  # words of which nothing is known
    return WordExperts.rounded(
        table, rng.normal(size=topics), rng.normal(size=topics), np.arange(topics) % count
    )


def rounding(count: int) -> float:
    """Half a unit of 2^-18 for each topic, and what float32 makes of the rest."""
    return TOPICS[count] * 2.0**-19 + 1e-5


def network(integer: int = TensorProto.INT64, opset: int = 14) -> onnx.ModelProto:
    """A network that answers `OWN` to everything."""
    value = helper.make_tensor_value_info
    tokens = [value(name, integer, ["batch", "sequence"]) for name in ("input_ids", "attention_mask")]
    nodes = [
        helper.make_node("Cast", ["attention_mask"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["real"], ["one"], axes=[1], keepdims=1),
        helper.make_node("Mul", ["one", "answer"], ["logits"]),
    ]
    answer = numpy_helper.from_array(OWN[None], "answer")
    logits = value("logits", TensorProto.FLOAT, ["batch", 2])
    graph = helper.make_graph(nodes, "network", tokens, [logits], [answer])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def opened(model: onnx.ModelProto, threads: int = 1):
    """The graph in ONNX Runtime; one thread runs kernels for repacked weights, two do not."""
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.disable_prepacking", str(threads - 1))
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return lambda ids, mask: session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]


SESSIONS = {
    (count, threads): opened(
        add_word_experts(network(), experts_of(count), cloud_index=1, max_tokens=512), threads
    )
    for count in (1, 2, 7)
    for threads in (1, 2)
}

WORDS = st.integers(0, SIZE - 1)
UNKNOWN = st.integers(0, (SIZE - 1) // 5).map(lambda row: 5 * row)
TEXTS = st.lists(
    st.one_of(st.lists(word, min_size=1, max_size=24) for word in (WORDS, UNKNOWN)), min_size=1, max_size=9
)


def alone(run, text):
    ids = np.array([text], np.int64)
    return run(ids, np.ones_like(ids))[0]


@given(st.sampled_from([1, 2, 7]), TEXTS, st.randoms(use_true_random=False))
def test_order_padding_garbage_batch_and_threads_do_not_move_a_bit(count, texts, random):
    run, other = SESSIONS[count, 1], SESSIONS[count, 2]
    width = max(map(len, texts)) + random.randrange(4)
    ids = np.array([[random.choice([0, 7, -1, SIZE, 2**40]) for _ in range(width)] for _ in texts], np.int64)
    mask = np.zeros_like(ids)
    for row, text in enumerate(texts):
        # Any order, padding anywhere: the sums are over a bag.
        places = sorted(random.sample(range(width), len(text)))
        ids[row, places], mask[row, places] = random.sample(text, len(text)), 1
    together = run(ids, mask)
    assert together.tobytes() == other(ids, mask).tobytes()
    for row, text in zip(together, texts, strict=True):
        assert row.tobytes() == alone(run, text).tobytes() == alone(other, text).tobytes()


@given(st.sampled_from([1, 2, 7]), TEXTS)
def test_the_graph_is_the_definition_in_float64(count, texts):
    for text in texts:
        logits = alone(SESSIONS[count, 1], text).astype(np.float64)
        ids = np.array([text])
        wanted = experts_of(count).margins(ids, np.ones_like(ids))[0]
        np.testing.assert_allclose(logits, OWN + wanted * SIGNS, rtol=0, atol=rounding(count))


def test_every_length_alone_is_the_same_in_a_batch():
    rng = np.random.default_rng(3)
    ids = rng.integers(0, SIZE, (512, 512))
    mask = (np.arange(512) <= np.arange(512)[:, None]).astype(np.int64)
    run = SESSIONS[7, 1]
    together = run(ids, mask)
    for row in range(512):
        assert together[row].tobytes() == alone(run, ids[row, : row + 1]).tobytes()
    np.testing.assert_allclose(
        np.diff(together - OWN, axis=1)[:, 0], experts_of(7).margins(ids, mask), rtol=0, atol=rounding(7)
    )


@pytest.mark.parametrize("integer", [TensorProto.INT64, TensorProto.INT32])
@pytest.mark.parametrize("cloud", [0, 1])
def test_tokens_of_any_integer_type_and_labels_in_any_order(integer, cloud):
    dtype = helper.tensor_dtype_to_np_dtype(integer)
    run = opened(add_word_experts(network(integer), experts_of(3), cloud_index=cloud, max_tokens=9))
    ids, mask = np.array([[3, 4, 70]], dtype), np.array([[1, 1, 0]], dtype)
    logits = run(ids, mask)[0] - OWN
    assert logits[cloud] - logits[1 - cloud] == pytest.approx(experts_of(3).margins(ids, mask)[0], rel=1e-5)


def test_a_row_without_a_token_is_finite():
    ids = np.zeros((2, 3), np.int64)
    assert np.isfinite(SESSIONS[7, 1](ids, ids)).all()


def test_an_opinion_is_cut_to_32():
    experts = WordExperts.rounded(np.full((SIZE, 2), 20.0), np.zeros(1), np.full(1, 30.0), [0])
    run = opened(add_word_experts(network(), experts, cloud_index=1, max_tokens=9))
    np.testing.assert_array_equal(alone(run, [3, 4]), OWN + 32.0 * SIGNS)


@pytest.mark.parametrize("topics", [2, 88, 600])
def test_what_float32_sums_is_whole_and_at_most_2_to_the_24_when_every_opinion_is_cut(topics):
    rng = np.random.default_rng(topics)
    table, level = rng.normal(size=(SIZE, topics + 1)), np.full(topics, 60.0)
    experts = WordExperts.rounded(table, rng.normal(size=topics), level, np.zeros(topics))
    model = add_word_experts(network(), experts, cloud_index=1, max_tokens=9)
    model.graph.output.append(helper.make_tensor_value_info("word_experts.whole", TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    ids = rng.integers(0, SIZE, (300, 9))
    whole = session.run(["word_experts.whole"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0]
    assert (whole == np.rint(whole)).all()
    assert np.abs(whole.astype(np.float64)).sum(axis=1).max() <= 2**24


def test_the_graph_has_no_type_that_onnxruntime_web_for_webgpu_lacks():
    model = onnx.shape_inference.infer_shapes(
        add_word_experts(network(), experts_of(3), cloud_index=1, max_tokens=9), strict_mode=True
    )
    types = {value.type.tensor_type.elem_type for value in model.graph.value_info}
    types |= {tensor.data_type for tensor in model.graph.initializer}
    known = {TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL}
    assert types - known == {TensorProto.INT8, TensorProto.UINT8}


@pytest.mark.parametrize("entry", [-32768, -32767, -257, -256, -255, -1, 0, 1, 255, 256, 32767])
def test_every_entry_is_the_sum_of_its_two_bytes(entry):
    table = np.zeros((SIZE, 2), np.int16)
    table[3, 1] = entry
    experts = WordExperts(table, np.zeros(1, np.float32), np.zeros(1, np.float32), np.zeros(1, np.int64))
    model = add_word_experts(network(), experts, cloud_index=1, max_tokens=512)
    model.graph.output.append(helper.make_tensor_value_info("word_experts.sums", TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for times in (1, 512):
        ids = np.full((1, times), 3)
        asked = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        assert session.run(["word_experts.sums"], asked)[0].tolist() == [[0.0, times * entry]]


def test_a_batch_of_none_is_none():
    assert SESSIONS[7, 1](*np.zeros((2, 0, 5), np.int64)).shape == (0, 2)


def test_texts_so_long_that_sums_would_not_be_exact_are_refused():
    table = np.full((SIZE, 2), 30.0)
    experts = WordExperts.rounded(table, np.zeros(1), np.zeros(1), [0])
    add_word_experts(network(), experts, cloud_index=1, max_tokens=experts.exact_tokens)
    with pytest.raises(ConversionError, match=r"547 tokens .* allows 546"):
        add_word_experts(network(), experts, cloud_index=1, max_tokens=experts.exact_tokens + 1)


def with_experts(path, count=7):
    experts_of(count).write(path)
    return path


TEXT_SET = ["a", "some more words than the first", "", "b" * 40, "what is the 9th of them ?"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    checkpoint = with_experts(write_checkpoint(tmp_path_factory.mktemp("experts") / "checkpoint"))
    lines: list[str] = []
    options = ExportOptions(opset=17, half=True, measure=False)
    made = export(checkpoint, tmp_path_factory.mktemp("out") / "artifact", options, lines.append)
    return made.artifact, checkpoint, lines


def test_every_variant_of_an_export_holds_them_and_is_proved(exported):
    artifact, checkpoint, lines = exported
    assert any(line.startswith("word experts: 7 over") for line in lines)
    record = artifact.manifest.conversion["word_experts"]
    assert record["experts"] == 7 and record["tokens"] == SIZE
    assert "7 word experts" in (artifact.path / "README.md").read_text(encoding="utf-8")
    assert {"plain", "folded", "fp16"} <= set(artifact.manifest.variants)
    again = validate(artifact, checkpoint, queries_file=None, threads=1, progress=lambda line: None)
    assert all(comparison.passed for comparison in again.values())


@pytest.mark.parametrize("threads", [1, 2])
def test_a_router_answers_as_the_checkpoint_in_any_batch_on_any_number_of_threads(exported, threads):
    artifact, checkpoint, _ = exported
    wanted = CheckpointScorer(checkpoint)(TEXT_SET)
    for variant in {"plain", "folded"} & set(artifact.manifest.variants):
        router = Router.open(artifact.path, variant=variant, session=SessionConfig(threads=threads))
        together = [decision.p_cloud for decision in router.route_many(TEXT_SET * 9)][: len(TEXT_SET)]
        one_by_one = [router.route(text).p_cloud for text in TEXT_SET]
        np.testing.assert_allclose(together, wanted, atol=1e-5)
        np.testing.assert_allclose(one_by_one, wanted, atol=1e-5)


def test_they_move_the_answers_by_their_margin_alone(exported, tmp_path):
    _, checkpoint, _ = exported
    plain = tmp_path / "plain"
    shutil.copytree(checkpoint, plain)
    (plain / "word_experts.safetensors").unlink()
    assert read_checkpoint(plain).sha256 != read_checkpoint(checkpoint).sha256
    with_, without = CheckpointScorer(checkpoint), CheckpointScorer(plain)
    moved = np.diff(with_.logits(TEXT_SET) - without.logits(TEXT_SET), axis=1)[:, 0]
    batch = with_._tokenizer(TEXT_SET, padding=True, return_tensors="np")
    np.testing.assert_allclose(moved, experts_of(7).margins(batch.input_ids, batch.attention_mask), atol=1e-5)


def test_labels_in_the_other_order_and_a_fixed_shape(tmp_path):
    other = {"id2label": {"0": "cloud", "1": "local"}, "label2id": {"cloud": 0, "local": 1}}
    checkpoint = with_experts(write_checkpoint(tmp_path / "checkpoint", **other), 1)
    options = ExportOptions(
        opset=17, fold=False, quantize=False, max_tokens=24, shape=Shape(2, 24), measure=False
    )
    made = export(checkpoint, tmp_path / "artifact", options, lambda line: None)
    wanted = CheckpointScorer(checkpoint, max_tokens=24)(TEXT_SET)
    found = [d.p_cloud for d in Router.open(made.artifact.path).route_many(TEXT_SET)]
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_other_encoders_carry_them_too(tmp_path):
    checkpoint = with_experts(write_other(tmp_path / "checkpoint", "bert"))
    made = export(
        checkpoint,
        tmp_path / "artifact",
        ExportOptions(opset=17, measure=False, max_tokens=48),
        lambda line: None,
    )
    assert {"plain", "folded"} <= set(made.comparisons)
    for file in made.artifact.manifest.variants.values():
        graph = onnx.load(made.artifact.path / file).graph
        assert "word_experts.low" in {tensor.name for tensor in graph.initializer}


def test_a_file_of_another_vocabulary_stops_an_export(tmp_path):
    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    WordExperts.rounded(np.zeros((SIZE + 1, 2)), np.zeros(1), np.zeros(1), [0]).write(checkpoint)
    options = ExportOptions(plain=False, validate=False, measure=False, quantize=False)
    with pytest.raises(CheckpointError, match="another vocabulary"):
        export(checkpoint, tmp_path / "artifact", options, lambda line: None)
    assert not (tmp_path / "artifact").exists()


def test_an_export_without_them_says_nothing_of_them(tmp_path):
    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    options = ExportOptions(plain=False, validate=False, measure=False, quantize=False)
    made = export(checkpoint, tmp_path / "artifact", options, lambda line: None)
    assert "word" not in json.dumps(dict(made.artifact.manifest.conversion))
    assert "word expert" not in (made.artifact.path / "README.md").read_text(encoding="utf-8")
