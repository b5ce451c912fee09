"""A router of one Gather: every known word has a weight, and the margin is the sum of them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pointsman.artifact.layout import FOLDED, TOKENIZER
from pointsman.artifact.manifest import Calibration, Chat, Limits, Manifest
from pointsman.artifact.store import Artifact, seal, staged
from pointsman.labels import LabelSet
from pointsman.policy import Policy

WEIGHTS = {"hello": -3.0, "thanks": -3.0, "play": -2.0, "analyze": 3.0, "plan": 2.0, "the": 0.0, "a": 0.0}
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def build_keyword_artifact(
    path: Path, calibration: Calibration | None = None, weights: Mapping[str, float] = WEIGHTS
) -> Artifact:
    """An artifact whose p_cloud of a text is `sigmoid(sum of its words' weights)`, 0 for unknown words."""
    vocabulary = {token: index for index, token in enumerate((*_SPECIAL, *weights))}
    manifest = Manifest(
        name="keyword",
        model_type="keyword",
        labels=LabelSet(("local", "cloud")),
        limits=Limits(64, 4096),
        policy=Policy(),
        calibration=calibration,
        chat=Chat(),
        variants={"folded": FOLDED},
        default_variant="folded",
        opsets={FOLDED: {"ai.onnx": 17}},
        conversion={},
        parity={},
        provenance={"made_by": "a test"},
    )
    with staged(path) as stage:
        (stage / TOKENIZER).write_text(_tokenizer(vocabulary), encoding="utf-8")
        (stage / FOLDED).parent.mkdir()
        (stage / FOLDED).write_bytes(_model(vocabulary, weights))
        return seal(stage, path, manifest)


def _tokenizer(vocabulary: Mapping[str, int]) -> str:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    made = Tokenizer(models.WordPiece(dict(vocabulary), unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
    made.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return made.to_str()


def _model(vocabulary: Mapping[str, int], weights: Mapping[str, float]) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    table = np.zeros((len(vocabulary), 2), np.float32)
    for word, weight in weights.items():
        table[vocabulary[word], 1] = weight
    shape = ["batch", "length"]
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
            helper.make_node("ReduceSum", ["rows", "axes"], ["logits"], keepdims=0),
        ],
        "keyword",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])],
        [
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(np.array([1], np.int64), "axes"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    return bytes(model.SerializeToString())
