"""Model servers: repository layouts of Triton, OpenVINO Model Server and KServe, and Azure ML's folder.

They serve the bare graph (token ids in, logits out) of the plain file, which has standard operators only;
Azure ML's script and KServe's container take text.
"""

from pathlib import Path

from pointsman.artifact.layout import TOKENIZER
from pointsman.artifact.store import Artifact
from pointsman.deploy.package.containers import copy_modules
from pointsman.deploy.package.target import Target


def copy_entry_modules(artifact: Artifact, stage: Path) -> None:
    """Copy this package's own modules beside Azure ML's entry script."""
    copy_modules(stage / "code" / "pointsman")


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
        step=copy_entry_modules,
    ),
)
