"""Checkpoints as a training leaves them, small enough for a test: random weights, a tokenizer of letters."""

import json
import string
from pathlib import Path
from typing import Any

from safetensors.numpy import save_file
from tests.convert.definition import TINY, random_weights
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from pointsman.convert.mobilebert import MobileBertConfig

LABELS = {"id2label": {"0": "local", "1": "cloud"}, "label2id": {"local": 0, "cloud": 1}}

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_LETTERS = string.ascii_lowercase + string.digits
VOCABULARY = (*_SPECIAL, *_LETTERS, *(f"##{letter}" for letter in _LETTERS))

MOBILEBERT: dict[str, Any] = {
    **TINY,
    **LABELS,
    "model_type": "mobilebert",
    "architectures": ["MobileBertForSequenceClassification"],
    "vocab_size": len(VOCABULARY),
    "max_position_embeddings": 160,
    "intra_bottleneck_size": 16,
    "true_hidden_size": 16,
    "pad_token_id": 0,
}


def write_checkpoint(path: Path, **overrides: Any) -> Path:
    """A MobileBERT checkpoint at `path`, without torch."""
    config = {**MOBILEBERT, **overrides}
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    labels = len(config["id2label"])
    weights = random_weights(MobileBertConfig.from_config(config), seed=3, norm=0.2, labels=labels)
    save_file(weights, path / "model.safetensors")
    write_tokenizer(path)
    return path


def write_tokenizer(path: Path) -> None:
    """A WordPiece tokenizer that spells every word."""
    ids = {token: index for index, token in enumerate(VOCABULARY)}
    made = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])]
    made.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    made.save(str(path / "tokenizer.json"))
    config = {"tokenizer_class": "BertTokenizer", "pad_token": "[PAD]", "model_max_length": 160}
    (path / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


TINY_ENCODER: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 162,
}

OTHER_SIZES: dict[str, dict[str, Any]] = {
    "distilbert": {"dim": 32, "hidden_dim": 48, "n_layers": 2, "n_heads": 4, "max_position_embeddings": 162},
    "albert": {**TINY_ENCODER, "embedding_size": 16},
    "electra": {**TINY_ENCODER, "embedding_size": 16},
    "deberta-v2": {
        **TINY_ENCODER,
        "relative_attention": True,
        "pos_att_type": ["p2c", "c2p"],
        "position_buckets": 16,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "position_biased_input": False,
    },
    "modernbert": {
        **TINY_ENCODER,
        "local_attention": 16,
        "global_attn_every_n_layers": 2,
        "cls_token_id": 2,
        "sep_token_id": 3,
        "bos_token_id": 2,
        "eos_token_id": 3,
    },
    "gpt2": {"n_embd": 32, "n_inner": 48, "n_layer": 2, "n_head": 4, "n_positions": 162},
    "qwen3": {**TINY_ENCODER, "num_key_value_heads": 2, "head_dim": 8},
}


def write_other(path: Path, architecture: str, **overrides: Any) -> Path:
    """A checkpoint of another architecture, written by transformers itself."""
    import torch
    import transformers

    config = transformers.AutoConfig.for_model(
        architecture,
        vocab_size=len(VOCABULARY),
        id2label={0: "local", 1: "cloud"},
        label2id=LABELS["label2id"],
        **{"pad_token_id": 0, **OTHER_SIZES.get(architecture, TINY_ENCODER), **overrides},
    )
    torch.manual_seed(5)
    transformers.AutoModelForSequenceClassification.from_config(config).save_pretrained(path)
    write_tokenizer(path)
    return path
