"""Small graphs with every kind of product that the limit looks for, and a toy artifact made of one."""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from pointsman.artifact.layout import CONFIG, FOLDED, PLAIN, TOKENIZER
from pointsman.artifact.manifest import Chat, Limits, Manifest
from pointsman.artifact.store import Artifact, seal, staged
from pointsman.labels import LabelSet
from pointsman.policy import Policy

VOCABULARY, WIDTH = 11, 4
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "which", "train", "takes", "the", "left", "track", "now")


def write_graph(path: Path, nodes: list[onnx.NodeProto], constants: dict[str, object]) -> Path:
    """A model from token ids to logits: words are gathered into `words`, the last node makes `logits`."""
    words = np.random.default_rng(1).standard_normal((VOCABULARY, WIDTH)).astype(np.float32)
    initializers = [numpy_helper.from_array(words, "table")]
    initializers += [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    gather = helper.make_node("Gather", ["table", "input_ids"], ["words"])
    dims = ["batch", "sequence"]
    graph = helper.make_graph(
        [gather, *nodes],
        "toy",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, dims)
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        initializers,
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return path


def bag_of_words(path: Path) -> Path:
    """The mean of the words through two products: any batch, any length."""
    random = np.random.default_rng(2)
    nodes = [
        helper.make_node("MatMul", ["words", "w1"], ["wide"]),
        helper.make_node("Relu", ["wide"], ["active"]),
        helper.make_node("ReduceMean", ["active", "axes"], ["mean"], keepdims=0),
        helper.make_node("Gemm", ["mean", "w2", "bias"], ["logits"]),
    ]
    constants = {
        "w1": random.standard_normal((WIDTH, 6)).astype(np.float32),
        "w2": random.standard_normal((6, 2)).astype(np.float32),
        "bias": np.zeros(2, np.float32),
        "axes": np.array([1]),
    }
    return write_graph(path, nodes, constants)


def toy_artifact(path: Path) -> Artifact:
    """A sealed artifact with a plain and a folded variant (the same graph) and eleven words."""
    tokenizer = Tokenizer(WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    manifest = Manifest(
        name="toy",
        model_type="mobilebert",
        labels=LabelSet(("local", "cloud")),
        limits=Limits(16, 400),
        policy=Policy(),
        calibration=None,
        chat=Chat(),
        variants={"plain": PLAIN, "folded": FOLDED},
        default_variant="folded",
        opsets={},
        conversion={"fold": {"steps": [{"name": "absorb_norm", "done": 13}]}},
        parity={"folded": {"max_p": 1e-7, "passed": True}},
        provenance={},
    )
    with staged(path) as stage:
        (stage / "onnx").mkdir()
        bag_of_words(stage / PLAIN)
        bag_of_words(stage / FOLDED)
        tokenizer.save(str(stage / TOKENIZER))
        (stage / CONFIG).write_text(json.dumps({"vocab_size": VOCABULARY, "num_attention_heads": 2}))
        return seal(stage, path, manifest)
