"""Whole processes, as the code that a user would write: what `python -c` runs and times.

Each takes its paths as arguments, decides or converts once, and prints one JSON object.
"""

_PEAK = """
import json
import sys


def peak_rss_bytes():
    try:
        with open("/proc/self/status", encoding="utf-8") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return 0

"""

ROUTER = (
    _PEAK
    + """
from pointsman import Router

decision = Router.open(sys.argv[1]).route(sys.argv[2])
print(json.dumps({"label": decision.label, "peak_rss_bytes": peak_rss_bytes()}))
"""
)
"""Arguments: an artifact, a query."""

TORCH = (
    _PEAK
    + """
import torch
from pathlib import Path

from pointsman.checkpoint.torch_word_experts import attach_word_experts
from transformers import AutoModelForSequenceClassification, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1], dtype=torch.float32).eval()
attach_word_experts(model, Path(sys.argv[1]), model.config.label2id["cloud"])
with torch.inference_mode():
    logits = model(**tokenizer(sys.argv[2], return_tensors="pt", truncation=True, max_length=128)).logits
label = model.config.id2label[int(torch.softmax(logits, -1).argmax())]
print(json.dumps({"label": label, "peak_rss_bytes": peak_rss_bytes()}))
"""
)
"""Arguments: a checkpoint, a query."""

CONVERT = (
    _PEAK
    + """
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
from safetensors.numpy import load_file

from pointsman.convert.emit import FloatProducts, emit
from pointsman.convert.fold import fold
from pointsman.convert.mobilebert import MobileBertConfig, mobilebert_from_weights
from pointsman.runtime.session import Session

checkpoint = Path(sys.argv[1])
config = MobileBertConfig.from_config(json.loads((checkpoint / "config.json").read_text(encoding="utf-8")))
weights = load_file(checkpoint / "model.safetensors")
with TemporaryDirectory() as folder:
    path = Path(folder) / "model.onnx"
    onnx.save(emit(fold(mobilebert_from_weights(config, weights)), FloatProducts()), path)
    Session(path)
    print(json.dumps({"size_bytes": path.stat().st_size, "peak_rss_bytes": peak_rss_bytes()}))
"""
)
"""Argument: a MobileBERT checkpoint of one safetensors file."""
