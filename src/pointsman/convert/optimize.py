"""ONNX Runtime's transformer optimizer, where it really fuses something, with the count.

On MobileBERT it fuses nothing (it looks for LayerNorm and GELU); the algebra is for that. On BERT,
DistilBERT and their kin it does, and the same report says so.
"""

import logging
import tempfile
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.transformers import optimizer
from onnxruntime.transformers.fusion_options import FusionOptions

from pointsman.errors import ConversionError

FUSED_OPERATORS = (
    "Attention",
    "MultiHeadAttention",
    "EmbedLayerNormalization",
    "SkipLayerNormalization",
    "LayerNormalization",
    "FastGelu",
    "BiasGelu",
    "Gelu",
)


@dataclass(frozen=True, slots=True)
class Fused:
    """The optimized model and how many fused operators it has more than before, by name."""

    model: onnx.ModelProto
    counts: dict[str, int]


def fuse(plain: onnx.ModelProto, heads: int, hidden_size: int, *, split: bool = False) -> Fused:
    """Run the optimizer at its BERT setting.

    Attention keeps the two-dimensional mask: the optimizer's default counts padding from the right only.

    Args:
        split: leave the projections out of the fused attention, as products of their own.

    Raises:
        ConversionError: the optimizer failed.
    """
    options = FusionOptions("bert")
    options.use_raw_attention_mask(True)
    options.use_multi_head_attention = split
    made = _optimized(plain, heads, hidden_size, options)
    before, after = _fused(plain), _fused(made.model)
    return Fused(
        made.model, {name: after[name] - before[name] for name in sorted(after) if after[name] > before[name]}
    )


def _optimized(plain: onnx.ModelProto, heads: int, hidden_size: int, options: FusionOptions) -> Any:
    logger = logging.getLogger("onnxruntime.transformers")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "plain.onnx"
            onnx.save(plain, path)
            return optimizer.optimize_model(
                str(path),
                model_type="bert",
                num_heads=heads,
                hidden_size=hidden_size,
                optimization_options=options,
                opt_level=0,
            )
    except Exception as error:  # noqa: BLE001 - whatever ends it, the export goes on without it
        with warnings.catch_warnings():
            # Where it fails, it leaves a temporary directory of its own to the garbage collector.
            warnings.simplefilter("ignore", ResourceWarning)
            traceback.clear_frames(error.__traceback__)
        raise ConversionError(f"ONNX Runtime's transformer optimizer failed: {error}") from None
    finally:
        logger.setLevel(level)


def _fused(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node if node.op_type in FUSED_OPERATORS)
