"""Model servers' folders, each read or run by the peer's own package in an environment of its own."""

import contextlib
import json
import socket
import subprocess
import time
import urllib.request

import numpy as np
from tests.targets.conftest import compare, peer, runtime

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
import sys, time
import numpy as np, openvino
data = np.load(sys.argv[1])
settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
compiled = openvino.Core().compile_model(sys.argv[3], "CPU", settings)
logits = np.empty((len(data["ids"]), 2), np.float32)
start = time.perf_counter()
for row, (ids, length) in enumerate(zip(data["ids"], data["lengths"])):
    bucket = next(b for b in (16, 32, 64, 128) if b >= length)
    mask = (np.arange(bucket) < length).astype(np.int64)[None]
    logits[row] = compiled({"input_ids": ids[None, :bucket], "attention_mask": mask})["logits"][0]
print((time.perf_counter() - start) / len(logits) * 1000)
np.save(sys.argv[2], logits)
"""

_KUBERNETES = """
import json, sys
import yaml
from kubernetes import client
api, kinds = client.ApiClient(), []
class Answer:
    def __init__(self, body): self.data = json.dumps(body)
for body in yaml.safe_load_all(open(sys.argv[1])):
    group, _, version = body["apiVersion"].rpartition("/")
    group = group.split(".")[0].capitalize() if group else ""
    short = version.capitalize() + body["kind"]
    names = [name for name in dir(client) if name in (short, group + short)]
    read = api.deserialize(json.dumps(body), names[0], "application/json")
    # A misspelt key is dropped by the models, so what comes back is compared.
    assert api.sanitize_for_serialization(read).keys() == body.keys(), body["kind"]
    def same(a, b, path):
        if isinstance(b, dict):
            assert set(b) <= set(a), (path, set(b) - set(a))
            for key in b: same(a[key], b[key], path + "." + key)
        elif isinstance(b, list):
            assert len(a) == len(b), path
            for x, y in zip(a, b): same(x, y, path)
    same(api.sanitize_for_serialization(read), body, body["kind"])
    kinds.append(body["kind"])
print(" ".join(kinds))
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
    assert_as_python(artifact, np.array(logits), texts, plain)


def test_openvino_answers_as_python(packaged, artifact, texts, plain, tmp_path):
    encodings = Router.open(artifact.path, variant="plain").encode(texts)
    ids = np.zeros((len(texts), 128), np.int64)
    for row, encoding in enumerate(encodings):
        ids[row, : len(encoding.ids)] = encoding.ids
    np.savez(tmp_path / "in.npz", ids=ids, lengths=[len(encoding.ids) for encoding in encodings])
    model = packaged("openvino") / "models/router/1/model.onnx"
    took = peer("venv-ov", _OPENVINO, tmp_path / "in.npz", tmp_path / "out.npy", model)
    print(f"\nfp32 in OpenVINO, one thread, lengths 16, 32, 64, 128: {float(took):.2f} ms a text")
    assert_as_python(artifact, np.load(tmp_path / "out.npy"), texts, plain)


def assert_as_python(artifact, logits, texts, expected):
    """Compare logits of the plain graph with Python's decisions."""
    from pointsman.runtime.probability import cloud_probability

    manifest = artifact.manifest
    found = []
    for p, one in zip(
        cloud_probability(logits, manifest.labels.cloud_index, manifest.calibration), expected, strict=True
    ):
        verdict = manifest.policy.decide(float(p), is_empty=one.tokens <= 2)
        found.append(
            {"label": verdict.label, "target": verdict.target, "tokens": one.tokens, "pCloud": float(p)}
        )
    compare(texts, expected, found, within=1e-3)


def test_kubernetes_models_take_every_object(packaged, tmp_path):
    made = subprocess.run(["kubectl", "kustomize", packaged("kubernetes")], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    (tmp_path / "all.yaml").write_text(made.stdout)
    kinds = peer("venv-tr", _KUBERNETES, tmp_path / "all.yaml").split()
    assert sorted(kinds) == sorted(
        ["Namespace", "ServiceAccount", "ConfigMap", "Service", "Service", "Deployment",
         "PodDisruptionBudget", "HorizontalPodAutoscaler", "NetworkPolicy"]
    )  # fmt: skip


def test_azure_server_answers_as_python(packaged, texts, artifact):
    folder, program = packaged("azureml"), runtime("venv-az", "bin", "azmlinfsrv")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [program, "--entry_script", "code/score.py", "--model_dir", "model", "--port", str(port)]
    server = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        decisions = [one.to_dict() for one in Router.open(artifact.path).route_many(texts[:200])]
        assert ask(server, port, {"inputs": texts[:200]}) == {"decisions": decisions}
        assert ask(server, port, {"inputs": texts[0]}) == {"decisions": decisions[:1]}
        assert "expected a JSON object" in ask(server, port, {"query": "x"})["error"]
        assert "string" in ask(server, port, {"inputs": [1]})["error"]
    finally:
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(20)
        server.kill()
        server.stdout.close()


def ask(server, port, body):
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/score", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    for _ in range(60):
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return json.loads(answer.read())
        except urllib.error.URLError as error:
            if isinstance(error, urllib.error.HTTPError) or server.poll() is not None:
                raise
            time.sleep(1)
    raise AssertionError("the Azure server did not start")
