"""Model servers: repository layouts of Triton, OpenVINO Model Server and KServe, and Azure ML's folder.

They serve the bare graph (token ids in, logits out) of the plain file, which has standard operators only;
Azure ML's script and KServe's container take text.
"""

import json
from pathlib import Path

from pointsman.artifact.layout import TOKENIZER
from pointsman.artifact.store import Artifact
from pointsman.deploy.package.containers import copy_modules
from pointsman.deploy.package.target import Target

LENGTHS = (16, 32, 64)
"""Token counts to pad to, besides the artifact's own limit: a fixed length is compiled once."""


def write_lengths(artifact: Artifact, stage: Path) -> None:
    """Write OpenVINO Model Server's configuration: one served model a length, all of the one file."""
    most = artifact.manifest.limits.max_tokens
    entries = [
        {
            "config": {
                "name": f"router-{length}",
                "base_path": "/models/router",
                "target_device": "CPU",
                "shape": dict.fromkeys(("input_ids", "attention_mask"), f"(-1,{length})"),
                "plugin_config": {"PERFORMANCE_HINT": "LATENCY"},
            }
        }
        for length in (*(length for length in LENGTHS if length < most), most)
    ]
    text = json.dumps({"model_config_list": entries}, indent=2)
    (stage / "models" / "config.json").write_text(text + "\n", encoding="utf-8")


TARGETS = (
    Target(
        name="triton",
        purpose="a model repository for NVIDIA Triton: token ids in, logits out",
        needs="Triton with the onnxruntime backend",
        tested="config.pbtxt read by Triton's own protobuf; the file loaded raw; no Triton was run",
        variants={"model_repository/router/1/model.onnx": ("plain",)},
        files={"tokenizer.json": TOKENIZER},
        page="model-servers",
    ),
    Target(
        name="openvino",
        purpose="a model repository for OpenVINO Model Server: token ids in, logits out",
        needs="OpenVINO Model Server, or the openvino package",
        tested="run by the openvino package against Python; no model server was run",
        variants={"models/router/1/model.onnx": ("plain",)},
        files={"tokenizer.json": TOKENIZER},
        step=write_lengths,
        page="model-servers",
    ),
    Target(
        name="kserve",
        purpose="InferenceServices for KServe: text by the gateway's image, or the bare graph",
        needs="KServe 0.11 or newer; the image of target docker, or storage for the repository",
        tested="by KServe's own models and Triton's protobuf; no cluster was reached",
        variants={"model_repository/router/1/model.onnx": ("plain",)},
        page="model-servers",
    ),
    Target(
        name="azureml",
        purpose="everything for a managed online endpoint: model, environment, code, deployment, scaling",
        needs="an Azure ML workspace, azure-ai-ml",
        tested="azure-ai-ml loaded every entity, azureml-inference-server-http ran score.py, the gateway ran "
        "with the container's variables; nothing was sent to Azure",
        whole_artifact="model",
        step=copy_modules("code"),
    ),
)
