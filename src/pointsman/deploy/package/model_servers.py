"""Model servers: repository layouts of Triton, OpenVINO Model Server and KServe, and Azure ML's folder.

They serve the bare graph (token ids in, logits out) of the plain file, which has standard operators only;
Azure ML's script and KServe's container take text.
"""

from pointsman.artifact.layout import TOKENIZER
from pointsman.deploy.package.target import Target

TARGETS = (
    Target(
        name="triton",
        purpose="a model repository for NVIDIA Triton: token ids in, logits out",
        needs="Triton with the onnxruntime backend",
        tested="config.pbtxt read by Triton's own protobuf; the file loaded raw; no Triton was run",
        variants={"model_repository/router/1/model.onnx": ("plain",)},
        files={"tokenizer.json": TOKENIZER},
    ),
    Target(
        name="openvino",
        purpose="a model repository for OpenVINO Model Server: token ids in, logits out",
        needs="OpenVINO Model Server, or the openvino package",
        tested="run by the openvino package against Python; no model server was run",
        variants={"models/router/1/model.onnx": ("plain",)},
        files={"tokenizer.json": TOKENIZER},
    ),
)
