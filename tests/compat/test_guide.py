"""The guide's interface, used as the guide uses it, from the import path that it names."""

import inspect
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from modules.onnx_converter import (
    MobileBertONNXConverter,
    batch_inference,
    inference_session,
    version_model,
)
from tests.convert.tiny_checkpoint import write_checkpoint
from tests.support.tiny_artifact import build_tiny_artifact

from pointsman.artifact.registry import Registry
from pointsman.artifact.store import Artifact
from pointsman.errors import (
    ArtifactError,
    ArtifactNotFoundError,
    CheckpointError,
    ConversionError,
    InputError,
    RegistryError,
    RuntimeUnavailableError,
)
from pointsman.runtime.router import Router

pytestmark = pytest.mark.slow

QUERIES = [
    "Hello there!",
    "Analyze quarterly sales performance",
    "What's 5 + 3?",
    "Write a comprehensive business plan",
    "Thanks for your help",
]


@pytest.fixture(scope="module")
def model_path(tmp_path_factory):
    return str(write_checkpoint(tmp_path_factory.mktemp("guide") / "notebooks" / "trained"))


@pytest.fixture(scope="module")
def production(model_path):
    converter = MobileBertONNXConverter(model_path=model_path, output_dir=f"{model_path}/onnx")
    converter.load_pytorch_model()
    made = converter.export_for_production(
        include_optimized=True, include_validation=True, include_benchmark=False
    )
    return converter, made


@pytest.fixture(scope="module")
def converter(production):
    return production[0]


def test_the_surface_is_the_guides():
    def parameters(function):
        return {n: p.default for n, p in inspect.signature(function).parameters.items() if n != "self"}

    made = MobileBertONNXConverter
    assert parameters(made.__init__) == {"model_path": None, "output_dir": None}
    assert parameters(made.load_pytorch_model) == {}
    assert parameters(made.convert_to_onnx) == {
        "opset_version": 14,
        "max_length": 128,
        "dynamic_axes": True,
        "optimize": True,
    }
    assert list(parameters(made.validate_onnx_model)) == ["test_queries"]
    assert parameters(made.benchmark_performance) == {"num_iterations": 100}
    assert parameters(made.export_for_production) == {
        "include_optimized": True,
        "include_validation": True,
        "include_benchmark": True,
    }


def test_the_file_has_the_opset_that_the_guide_asks_for(converter):
    path = converter.output_dir / "mobilebert_query_router.onnx"
    assert {item.version for item in onnx.load(path).opset_import if not item.domain} == {14}
    assert (converter.output_dir / "mobilebert_query_router_optimized.onnx").is_file()
    converter.artifact.verify()


def test_quick_inference_from_the_guides_paths(model_path, converter):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(f"{model_path}/onnx/tokenizer")
    session = ort.InferenceSession(f"{model_path}/onnx/mobilebert_query_router.onnx")
    query = "Can you analyze the quarterly business performance?"
    inputs = tokenizer(query, return_tensors="np", padding=True, truncation=True, max_length=128)
    feed = {"input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"]}
    logits = session.run(None, feed)[0]
    router = Router.open(converter.artifact, variant="plain")
    np.testing.assert_allclose(logits, router.logits([query]), atol=1e-4)
    assert router.labels.names[int(np.argmax(logits, axis=-1)[0])] == router.route(query).label


def test_automatic_validation(converter):
    results = converter.validate_onnx_model(test_queries=QUERIES)
    assert (results["passed"], results["total_tests"]) == (5, 5)
    assert 0.0 < results["max_difference"] < 1e-3
    assert results["verdict"] in ("excellent", "acceptable")
    assert [one["query"] for one in results["details"]] == QUERIES


def test_validation_notices_a_model_that_is_not_the_checkpoint(converter, model_path, tmp_path):
    other = write_checkpoint(tmp_path / "other", id2label={"0": "cloud", "1": "local"}, label2id={})
    impostor = MobileBertONNXConverter(other, converter.output_dir)
    impostor.load_pytorch_model()
    with np.errstate(all="ignore"):
        impostor.model.classifier.weight.data.mul_(-1.0)
    results = impostor.validate_onnx_model(QUERIES)
    assert results["passed"] < results["total_tests"]


def test_validation_needs_queries(converter):
    with pytest.raises(InputError, match="at least one query"):
        converter.validate_onnx_model([])


def test_manual_validation(converter):
    import torch

    inputs = converter.tokenizer(QUERIES[1], return_tensors="pt", padding=True, truncation=True)
    with torch.no_grad():
        wanted = converter.model(**inputs).logits.numpy()
    session = inference_session(converter.output_dir / "mobilebert_query_router.onnx")
    feed = {name: inputs[name].numpy() for name in ("input_ids", "attention_mask")}
    np.testing.assert_allclose(session.run(None, feed)[0], wanted, atol=1e-4)


def test_automatic_benchmark(converter):
    results = converter.benchmark_performance(num_iterations=10)
    assert results["pytorch"]["n"] == results["onnx"]["n"] >= 10
    assert results["pytorch"]["avg_time_ms"] > 0 and results["onnx"]["avg_time_ms"] > 0
    assert results["speedup"] == pytest.approx(
        results["pytorch"]["avg_time_ms"] / results["onnx"]["avg_time_ms"]
    )
    with pytest.raises(InputError, match="at least"):
        converter.benchmark_performance(num_iterations=1)


def test_paths_come_from_the_environment(model_path, converter, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BERT_MODEL_PATH", model_path)
    assert str(MobileBertONNXConverter().model_path) == model_path
    assert MobileBertONNXConverter().artifact.manifest.id == converter.artifact.manifest.id
    assert Router.open().artifact.manifest.id == converter.artifact.manifest.id
    monkeypatch.setenv("BERT_MODEL_PATH", f"{model_path}/onnx")
    assert Router.open().artifact.manifest.id == converter.artifact.manifest.id


def test_both_spellings_of_the_default_directory_are_found(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("BERT_MODEL_PATH", "BERT_MODEL_FULLPATH"):
        monkeypatch.delenv(name, raising=False)
    assert MobileBertONNXConverter().model_path.name == "mobilebert_query_router_trained"
    (tmp_path / "notebooks" / "mobilbert_query_router_trained").mkdir(parents=True)
    assert MobileBertONNXConverter().model_path.name == "mobilbert_query_router_trained"
    with pytest.raises(CheckpointError):
        MobileBertONNXConverter().load_pytorch_model()


def test_a_failed_conversion_leaves_the_earlier_one(converter):
    before = converter.artifact.manifest.id
    with pytest.raises(CheckpointError, match="expected 2"):
        converter.convert_to_onnx(max_length=5000)
    assert converter.artifact.manifest.id == before
    assert not [p for p in converter.output_dir.iterdir() if p.name.startswith(".")]


def test_nothing_converted_is_said(model_path, tmp_path):
    with pytest.raises(ArtifactNotFoundError):
        MobileBertONNXConverter(model_path, tmp_path).validate_onnx_model(QUERIES)


def test_batch_inference_answers_in_order(converter):
    router = Router.open(converter.artifact)
    queries = [*QUERIES, "a much longer query than the others, so that batches by length change order"] * 3
    found = batch_inference(queries, batch_size=4, router=router)
    assert len(found) == len(queries)
    for query, (prediction, confidence) in zip(queries, found, strict=True):
        decision = router.route(query)
        assert router.labels.names[prediction] == decision.label
        assert confidence == pytest.approx(decision.confidence, abs=1e-5)
    assert batch_inference([], router=router) == []
    with pytest.raises(InputError, match="batch_size"):
        batch_inference(queries, batch_size=0, router=router)


def test_versions_never_change(converter, capsys):
    versioned = version_model(f"{converter.output_dir}/", "1.0")
    assert capsys.readouterr().out.strip() == f"Model versioned: {versioned}"
    Artifact.open(Path(versioned)).verify()
    with pytest.raises(RegistryError, match="never change"):
        version_model(converter.output_dir, "1.0")
    other = version_model(converter.output_dir)
    assert other != versioned
    registry = Registry(converter.output_dir.with_name("onnx_versions"))
    assert len(registry.versions()) == 2


def test_session_options_may_be_a_table(converter):
    path = converter.output_dir / "mobilebert_query_router.onnx"
    threads = {"intra_op_num_threads": 4, "inter_op_num_threads": 4}
    session = inference_session(path, providers=["CPUExecutionProvider"], sess_options=threads)
    assert session.get_session_options().intra_op_num_threads == 4
    with pytest.raises(InputError, match="no option 'threads'"):
        inference_session(path, sess_options={"threads": 4})


def test_a_provider_that_is_absent_is_an_error(converter):
    path = converter.output_dir / "mobilebert_query_router.onnx"
    absent = {"CUDAExecutionProvider", "OpenVINOExecutionProvider"} - set(ort.get_available_providers())
    for provider in absent:
        with pytest.raises(RuntimeUnavailableError, match=provider):
            inference_session(path, providers=[provider, "CPUExecutionProvider"])


def test_export_for_production(production):
    converter, made = production
    assert made["onnx_model"] == str(converter.output_dir / "mobilebert_query_router.onnx")
    for key in ("onnx_model", "tokenizer", "artifact", "optimized_model", "parity_report"):
        assert Path(made[key]).exists()
    assert made["validation"]["passed"] == made["validation"]["total_tests"] > 300
    assert "benchmark" not in made


def test_the_stock_optimizer_runs_and_fuses_nothing_of_a_mobilebert(converter, tmp_path, caplog):
    from onnxruntime.transformers import optimizer
    from onnxruntime.transformers.fusion_options import FusionOptions

    options = FusionOptions("bert")
    options.enable_gelu = options.enable_layer_norm = options.enable_attention = True
    options.enable_skip_layer_norm = options.enable_embed_layer_norm = True
    optimized = optimizer.optimize_model(
        str(converter.output_dir / "mobilebert_query_router.onnx"),
        model_type="bert",
        num_heads=4,
        hidden_size=512,
        optimization_options=options,
    )
    optimized.save_model_to_file(str(tmp_path / "model_optimized.onnx"))
    fused = optimized.get_fused_operator_statistics()
    assert not any(fused[name] for name in ("Attention", "LayerNormalization", "Gelu", "FastGelu"))
    inference_session(tmp_path / "model_optimized.onnx")


def test_the_stock_quantization_runs(converter, tmp_path):
    from onnxruntime.quantization import QuantType, quantize_dynamic

    path = tmp_path / "mobilebert_query_router_quantized.onnx"
    quantize_dynamic(
        model_input=str(converter.output_dir / "mobilebert_query_router.onnx"),
        model_output=str(path),
        weight_type=QuantType.QUInt8,
    )
    ids = np.array([[2, 7, 8, 3]])
    session = inference_session(path)
    logits = session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0]
    assert logits.shape == (1, 2)


@pytest.fixture
def tiny(tmp_path):
    return build_tiny_artifact(tmp_path / "router")


@pytest.mark.parametrize("make", [iter, tuple, np.array, lambda texts: (text for text in texts)])
def test_batch_inference_takes_any_texts_in_an_order(tiny, make):
    router = Router.open(tiny)
    wanted = batch_inference(["hello", "analyze"], router=router)
    assert batch_inference(make(["hello", "analyze"]), batch_size=1, router=router) == wanted


@pytest.mark.parametrize("queries", [None, "hello", {"hello"}, {"hello": 1}, [None]], ids=str)
def test_batch_inference_refuses_what_is_no_list_of_texts(tiny, queries):
    with pytest.raises(InputError, match="expected"):
        batch_inference(queries, router=Router.open(tiny))


@pytest.mark.parametrize("size", [0, -1, 1.5, "2", None])
def test_a_batch_size_that_is_none_is_refused(size):
    with pytest.raises(InputError, match="batch_size"):
        batch_inference(["hello"], batch_size=size)


def test_the_working_directory_may_be_versioned(tiny, monkeypatch):
    monkeypatch.chdir(tiny.path)
    assert version_model(".", "1.0") == str(tiny.path.with_name("router_versions") / "versions" / "1.0")


@pytest.mark.parametrize(
    "options", [{"intra_op_num_threads": "4"}, {"graph_optimization_level": 99}], ids=str
)
def test_an_option_of_another_type_is_refused(tiny, options):
    with pytest.raises(InputError, match="takes another type"):
        inference_session(tiny.path / tiny.manifest.variants["folded"], sess_options=options)


@pytest.mark.parametrize("model", ["missing.onnx", "."])
def test_a_model_that_is_none_is_refused(tmp_path, model):
    with pytest.raises(ArtifactError, match="does not take"):
        inference_session(tmp_path / model)


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.convert_to_onnx(opset_version="14"),
        lambda c: c.convert_to_onnx(max_length=None),
        lambda c: c.convert_to_onnx(max_length=12.5),
        lambda c: c.validate_onnx_model("Hello there!"),
        lambda c: c.validate_onnx_model({"Hello", "there"}),
        lambda c: c.benchmark_performance("100"),
        lambda c: c.benchmark_performance(None),
    ],
)
def test_arguments_of_another_type_are_refused(model_path, tmp_path, call):
    with pytest.raises((ConversionError, InputError), match="expected"):
        call(MobileBertONNXConverter(model_path, tmp_path))
    assert not any(tmp_path.iterdir())
