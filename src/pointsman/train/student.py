"""The student: a MobileBERT classifier from nothing, from a local directory, or from a hub name."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import (
    AutoModelForSequenceClassification,
    MobileBertConfig,
    MobileBertForSequenceClassification,
)
from transformers.models.mobilebert.modeling_mobilebert import MobileBertLayer
from transformers.utils import cached_file

from pointsman.checkpoint.torch_word_experts import attach_word_experts
from pointsman.checkpoint.word_experts import WORD_EXPERTS
from pointsman.errors import CheckpointError
from pointsman.labels import TARGETS

_INITIAL_EMBEDDING_STD = 0.05


def new_student(depth: int, encoder: Path, seed: int) -> Any:
    """A MobileBERT whose word vectors start from the teacher's, projected to 128 dimensions by PCA.

    The padding row is zero and stays zero, so that a neighbour never reads anything from padding.

    Args:
        encoder: directory of the teacher, with the same vocabulary.
    """
    from safetensors.numpy import load_file

    torch.manual_seed(seed)
    ids = dict(enumerate(TARGETS))
    config = MobileBertConfig(
        num_hidden_layers=depth,
        id2label=ids,
        label2id={v: k for k, v in ids.items()},
        attn_implementation="eager",
    )
    model = MobileBertForSequenceClassification(config)
    table = load_file(encoder / "model.safetensors")["embeddings.word_embeddings.weight"].astype(np.float64)
    words = model.mobilebert.embeddings.word_embeddings.weight
    if len(table) != len(words):
        raise CheckpointError(
            f"the teacher knows {len(table)} tokens, the student {len(words)}: another vocabulary."
        )
    centred = table - table.mean(axis=0)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    projected = centred @ vectors[:, ::-1][:, : words.shape[1]]
    projected *= _INITIAL_EMBEDDING_STD / projected.std()
    projected[config.pad_token_id] = 0.0
    with torch.no_grad():
        words.copy_(torch.from_numpy(projected))
    return model


def load_student(base: str, *, word_experts: bool = True) -> Any:
    """A pretrained base with a two-way head whose classes are `local`, `cloud` in this order.

    A head that a router's checkpoint brings is kept, and so are its word experts, which no step changes; any
    other base gets a new one.

    Args:
        base: a hub name such as `google/mobilebert-uncased`, or a directory.

    Raises:
        CheckpointError: it cannot be loaded, or its weights do not fit its configuration.
    """
    ids = dict(enumerate(TARGETS))
    try:
        model, info = AutoModelForSequenceClassification.from_pretrained(
            base,
            num_labels=len(ids),
            use_safetensors=True,
            trust_remote_code=False,
            attn_implementation="eager",
            dtype=torch.float32,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        first = str(error).strip().splitlines()[0]
        raise CheckpointError(f"base {base!r} cannot be loaded: {first}") from None
    _refuse_gaps(base, info)
    names = [str(model.config.id2label.get(index, "")).lower() for index in ids]
    if names == [*reversed(TARGETS)]:
        with torch.no_grad():
            model.classifier.weight.copy_(model.classifier.weight.flip(0))
            model.classifier.bias.copy_(model.classifier.bias.flip(0))
    model.config.id2label, model.config.label2id = ids, {v: k for k, v in ids.items()}
    return attach_word_experts(model, _directory(base), TARGETS.index("cloud")) if word_experts else model


def _directory(base: str) -> Path:
    """The directory of a base, or where the hub's client keeps its word experts (it has none in most)."""
    found = cached_file(
        base,
        WORD_EXPERTS,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return Path(found).parent if found else Path(base)


def resized(model: Any, depth: int) -> Any:
    """The MobileBERT with `depth` blocks: more than it had, or some of those that it had.

    A block of this architecture adds its output bottleneck to what it was given. Where that bottleneck is
    zero, the block passes its input on unchanged, so a shallow student is a deeper one's first half: blocks
    added change no answer until they are trained. Of too many, evenly spaced ones stay, the first and the
    last among them; the answers change, and training goes on from there.

    Raises:
        CheckpointError: no MobileBERT, or one to grow whose blocks end in a layer norm, which is never the
            identity.
    """
    config = model.config
    if config.model_type != "mobilebert":
        raise CheckpointError(f"expected a MobileBERT to go on from, found {config.model_type!r}.")
    blocks = model.mobilebert.encoder.layer
    if len(blocks) > depth:
        kept = np.linspace(0, len(blocks) - 1, depth).round().astype(int)
        model.mobilebert.encoder.layer = torch.nn.ModuleList(blocks[index] for index in kept)
        config.num_hidden_layers = depth
    if config.num_hidden_layers == depth:
        return model
    if config.normalization_type != "no_norm" or not config.use_bottleneck:
        raise CheckpointError("a MobileBERT without bottlenecks, or with layer norms, cannot grow.")
    for _ in range(depth - config.num_hidden_layers):
        block = MobileBertLayer(config)
        block.apply(model._init_weights)
        last = block.output.bottleneck
        with torch.no_grad():
            last.dense.weight.zero_()
            last.dense.bias.zero_()
            last.LayerNorm.weight.fill_(1.0)
            last.LayerNorm.bias.zero_()
        model.mobilebert.encoder.layer.append(block)
    config.num_hidden_layers = depth
    return model


def _refuse_gaps(base: str, info: Any) -> None:
    """A head and a pooler may be new; anything else that is missing or of another shape is an error."""
    missing = [k for k in info["missing_keys"] if not k.startswith("classifier.") and ".pooler." not in k]
    wrong = [str(k[0] if isinstance(k, tuple) else k) for k in info["mismatched_keys"]]
    if missing or wrong:
        raise CheckpointError(
            f"base {base!r}: its weights do not fit its config.json "
            f"(missing: {missing[:3]}, of another shape: {wrong[:3]}; {len(missing) + len(wrong)} in all)."
        )
