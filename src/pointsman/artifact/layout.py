"""Every file name of an artifact, written once.

The names are those that transformers.js, TEI, Infinity and Optimum look for.
"""

MANIFEST = "manifest.json"
CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
TOKENIZER_COMPANIONS = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
)
CARD = "README.md"

ONNX_DIRECTORY = "onnx"
PLAIN = "onnx/model.onnx"
FOLDED = "onnx/model_optimized.onnx"
INT8 = "onnx/model_quantized.onnx"
FP16 = "onnx/model_fp16.onnx"

PARITY_REPORT = "reports/parity.json"

VARIANTS = {"plain": PLAIN, "folded": FOLDED, "int8": INT8, "fp16": FP16}
"""What a variant's file is called; an artifact holds at least one of them."""

# The guide's own names, written beside an artifact for code that looks for them.
GUIDE_PLAIN = "mobilebert_query_router.onnx"
GUIDE_FOLDED = "mobilebert_query_router_optimized.onnx"
GUIDE_INT8 = "mobilebert_query_router_quantized.onnx"
GUIDE_TOKENIZER = "tokenizer"
GUIDE_ARTIFACT = "artifact"
