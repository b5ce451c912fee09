"""The int8 file: ranges calibrated on text, the best of a few coverages kept.

Activations of networks without a real normalisation have long tails. Holding the rarest value whole
costs every other value precision; cutting the tails costs the rare ones. Which is better depends on the
checkpoint, so each coverage is tried, and the one whose probabilities stay nearest to the float graph's
on the calibration texts is kept. Whether that is good enough is not decided here but by the parity gates,
on other texts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from pointsman.convert.activation_ranges import ranges_at, row_extremes
from pointsman.convert.emit import FloatProducts, emit
from pointsman.convert.equalize import equalize
from pointsman.convert.fold import FoldedMobileBert
from pointsman.convert.int8 import Int8Products, watched_values
from pointsman.evaluation.parity import answers_alone
from pointsman.runtime.probability import cloud_probability
from pointsman.runtime.session import Session, SessionConfig

COVERAGES = (1.0, 0.9995, 0.998, 0.99)


@dataclass(frozen=True, slots=True)
class QuantizationReport:
    """How the int8 file was made.

    Attributes:
        nodes: of the graph.
        weight_limit: largest magnitude of a weight; up to 64 no product can saturate on any CPU.
        texts: calibration texts.
        covered: share of tokens whose values the ranges hold whole.
        mean_p: mean |difference of p(cloud)| to the float graph on the calibration texts.
        tried: mean_p by coverage.
    """

    nodes: int
    weight_limit: int
    texts: int
    covered: float
    mean_p: float
    tried: dict[str, float]


def quantize(
    folded: FoldedMobileBert,
    sequences: Sequence[Sequence[int]],
    *,
    cloud_index: int,
    weight_limit: int,
    threads: int,
) -> tuple[onnx.ModelProto, QuantizationReport]:
    """Write the int8 graph of a folded classifier.

    Args:
        folded: what to write.
        sequences: token ids of the calibration texts.
        cloud_index: which logit speaks for `cloud`.
        weight_limit: largest magnitude of a weight, 1..127.
        threads: intra-op threads of the calibration.
    """
    config = SessionConfig(threads=threads)
    folded = equalize(folded)
    float_model = emit(folded, FloatProducts())
    extremes = row_extremes(float_model, watched_values(folded), sequences, threads=threads)
    float_logits = answers_alone(Session(float_model.SerializeToString(), config), sequences)
    wanted = cloud_probability(float_logits, cloud_index, None)
    tried: dict[float, tuple[float, onnx.ModelProto]] = {}
    for covered in COVERAGES:
        products = Int8Products(ranges_at(extremes, covered), weight_limit)
        model = emit(folded, products, "MobileBERT, folded: int8 products, calibrated activations")
        logits = answers_alone(Session(model.SerializeToString(), config), sequences)
        tried[covered] = float(np.abs(cloud_probability(logits, cloud_index, None) - wanted).mean()), model
    best = min(tried, key=lambda covered: tried[covered][0])
    mean_p, model = tried[best]
    return model, QuantizationReport(
        nodes=len(model.graph.node),
        weight_limit=weight_limit,
        texts=len(sequences),
        covered=best,
        mean_p=mean_p,
        tried={str(covered): value for covered, (value, _) in tried.items()},
    )
