"""Model servers' folders, each read or run by the peer's own package in an environment of its own."""

import numpy as np
from tests.targets.comparing import compare, decisions_of, peer

from pointsman.runtime.router import Router

_PBTXT = """
import sys
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2
config = text_format.Parse(open(sys.argv[1]).read(), model_config_pb2.ModelConfig())
print(config.name, config.platform, [(i.name, i.data_type, list(i.dims)) for i in config.input],
      [(o.name, o.data_type, list(o.dims)) for o in config.output], sep="|")
"""

_OPENVINO = """
import json, sys, time
import numpy as np, openvino
data = np.load(sys.argv[1])
settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
core, compiled = openvino.Core(), {}
for entry in json.load(open(sys.argv[3] + "/config.json"))["model_config_list"]:
    config = entry["config"]
    # The server mounts the folder at /models, and takes the highest version.
    model = core.read_model(config["base_path"].replace("/models", sys.argv[3], 1) + "/1/model.onnx")
    model.reshape({name: openvino.PartialShape(shape.strip("()")) for name, shape in config["shape"].items()})
    length = model.input("input_ids").partial_shape[1].get_length()
    assert config["name"] == f"router-{length}"
    compiled[length] = core.compile_model(model, config["target_device"], settings)
logits = np.empty((len(data["ids"]), 2), np.float32)
start = time.perf_counter()
for row, (ids, length) in enumerate(zip(data["ids"], data["lengths"])):
    bucket = min(one for one in compiled if one >= length)
    mask = (np.arange(bucket) < length).astype(np.int64)[None]
    logits[row] = compiled[bucket]({"input_ids": ids[None, :bucket], "attention_mask": mask})["logits"][0]
print((time.perf_counter() - start) / len(logits) * 1000)
np.save(sys.argv[2], logits)
"""


def test_triton_reads_the_configuration(packaged):
    for name in ("triton", "kserve"):
        folder = packaged(name) / "model_repository" / "router"
        assert (folder / "1" / "model.onnx").is_file()
        read = peer("venv-tr", _PBTXT, folder / "config.pbtxt").split("|")
        # TYPE_INT64 is 9 and TYPE_FP32 is 11 in Triton's protobuf.
        assert read == [
            "router",
            "onnxruntime_onnx",
            "[('input_ids', 9, [-1]), ('attention_mask', 9, [-1])]",
            "[('logits', 11, [2])]",
        ]


def test_triton_layout_loaded_raw_has_the_names_of_its_configuration(packaged, artifact, texts, plain):
    import onnxruntime

    session = onnxruntime.InferenceSession(packaged("triton") / "model_repository/router/1/model.onnx")
    assert {i.name for i in session.get_inputs()} == {"input_ids", "attention_mask"}
    encodings = Router.open(artifact.path, variant="plain").encode(texts)
    logits = []
    for encoding in encodings:
        ids = np.array([encoding.ids])
        logits.append(session.run(["logits"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0][0])
    found = decisions_of(artifact, np.array(logits), encodings)
    compare("fp32 in Triton's layout, loaded raw", texts, plain, found, 1e-3)


def test_openvino_answers_as_python(packaged, artifact, texts, plain, tmp_path):
    encodings = Router.open(artifact.path, variant="plain").encode(texts)
    ids = np.zeros((len(texts), 128), np.int64)
    for row, encoding in enumerate(encodings):
        ids[row, : len(encoding.ids)] = encoding.ids
    np.savez(tmp_path / "in.npz", ids=ids, lengths=[len(encoding.ids) for encoding in encodings])
    models = packaged("openvino") / "models"
    took = peer("venv-ov", _OPENVINO, tmp_path / "in.npz", tmp_path / "out.npy", models)
    what = "fp32 in OpenVINO, one thread, lengths 16, 32, 64, 128"
    found = decisions_of(artifact, np.load(tmp_path / "out.npy"), encodings)
    compare(what, texts, plain, found, 1e-3, float(took))
