"""JavaScript: model folders as transformers.js has them, in Node and in the browser."""

from collections.abc import Mapping

from pointsman.artifact.layout import CONFIG, TOKENIZER
from pointsman.deploy.package.target import Target

_TOKENIZER_CONFIG = "tokenizer_config.json"


def _model_files() -> Mapping[str, str]:
    return {f"models/router/{name}": name for name in (CONFIG, TOKENIZER, _TOKENIZER_CONFIG)}


TARGETS = (
    Target(
        name="node",
        purpose="an npm-ready package with types: text in, decision out, in Node",
        needs="Node 20 or newer, @huggingface/transformers 4 from npm",
        tested="1,000 texts in Node against Python, with the real npm package",
        variants={
            "models/router/onnx/model.onnx": ("plain",),
            "models/router/onnx/model_quantized.onnx": ("int8",),
        },
        files=_model_files(),
        shared="javascript",
        page="javascript",
    ),
    Target(
        name="browser",
        purpose="a page and a module that route wholly in the browser, offline (WebAssembly)",
        needs="any static host; npm once, to fetch onnxruntime-web and @huggingface/tokenizers",
        tested="1,000 texts in headless Chromium against Python; WebGPU was not tried",
        variants={"models/router/onnx/model_quantized.onnx": ("int8",)},
        files=_model_files(),
        shared="javascript",
        page="javascript",
    ),
)
