"""The int8 file: coordinates and ranges calibrated on text, the best of a few kept.

Activations of networks without a real normalisation have channels far wider than others and tokens far
outside the usual. How much of a wide channel to move into the weights (`coordinates`), and how much of a
long tail to cut (coverage), depends on the checkpoint. So each is tried, and what keeps the probabilities
nearest to the float graph's on the calibration texts is kept. If that is not near enough, the products that
carry the error stay in float32. Whether the result is good enough is not decided here but by the parity
gates, on other texts.
"""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx

from pointsman.convert.activation_ranges import (
    ChannelRange,
    Extremes,
    best_ranges,
    channel_ranges,
    magnitudes,
    ranges_at,
    row_extremes,
)
from pointsman.convert.calibration_texts import CalibrationTexts
from pointsman.convert.coordinates import Style, plan_coordinates, recoordinate, stream_places
from pointsman.convert.emit import FloatProducts, emit
from pointsman.convert.equalize import equalize
from pointsman.convert.fold import FoldedMobileBert
from pointsman.convert.int8 import (
    Int8Products,
    QuantizedWords,
    Range,
    quantize_words,
    units,
    watched_values,
)

COVERAGES = (1.0, 0.9995, 0.998, 0.99)
STYLES = (Style(0.0, False), Style(0.5, False), Style(1.0, False), Style(1.0, True))

NEAR_ENOUGH = 0.004
"""A larger mean |difference of p(cloud)| on the calibration texts starts the search for float32 products."""

_STYLE_COVERAGES = (1.0, 0.99)
_STYLE_TEXTS, _UNIT_TEXTS = 100, 50
_MOST_UNITS = 64
_PRODUCTS = ("QGemm", "QAttention", "Gemm", "Attention")


@dataclass(frozen=True, slots=True)
class QuantizationReport:
    """How the int8 file was made.

    Attributes:
        products: matrix products with weights in the graph, each in int8 or in float32.
        weight_limit: largest magnitude of a weight; up to 64 no product can saturate on any CPU.
        alpha: share of the channels' width that was moved into the weights, 0..1.
        centred: whether the middle of every channel's range became 0.
        gains: residual updates that change their coordinates, by one explicit product each.
        covered: share of tokens whose values the ranges hold whole.
        kept_float: what stays in float32 because it carried the error; a feed-forward network is two.
        mean_p: mean |difference of p(cloud)| to the float graph on the calibration texts.
        tried: mean_p by coverage.
        tried_coordinates: mean_p by alpha, best coverage, on a third of the texts.
        magnitudes: where the streams are largest, in the checkpoint's folded coordinates.
    """

    nodes: int
    products: int
    weight_limit: int
    texts: int
    alpha: float
    centred: bool
    gains: int
    covered: float
    kept_float: tuple[str, ...]
    mean_p: float
    tried: dict[str, float]
    tried_coordinates: dict[str, float]
    magnitudes: dict[str, Any]
    seconds: float


class _Writer:
    """Int8 graphs of one classifier in one choice of coordinates."""

    def __init__(self, folded: FoldedMobileBert, words: QuantizedWords | None, weight_limit: int) -> None:
        self.folded = equalize(folded)
        self._words, self._limit = words, weight_limit
        self.float_model = emit(self.folded, FloatProducts())

    def extremes(self, calibration: CalibrationTexts) -> Extremes:
        """What the products' inputs lie between on the texts."""
        watched = watched_values(self.folded)
        return row_extremes(self.float_model, watched, calibration.tokens, threads=calibration.threads)

    def int8(self, ranges: Mapping[str, Range], kept_float: Collection[str] = ()) -> onnx.ModelProto:
        """The graph over these ranges."""
        products = Int8Products(ranges, self._limit, kept_float, self._words)
        return emit(self.folded, products, "MobileBERT, folded: int8 products, calibrated activations")


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
        cloud_index: which logit speaks for `cloud`.
        weight_limit: largest magnitude of a weight, 1..127.
    """
    began = time.perf_counter()
    float_model = emit(folded, FloatProducts())
    texts = CalibrationTexts.answered_by(float_model, sequences, cloud_index, threads)
    few = texts.spread(_STYLE_TEXTS)
    places = [name for stream in stream_places(folded) for name in stream]
    channels = channel_ranges(float_model, places, few.tokens, threads=threads)
    style, styles, writer = _best_style(folded, channels, few, weight_limit)
    extremes = writer.extremes(texts)
    covered, ranges, tried = best_ranges(extremes, COVERAGES, lambda r: texts.error(writer.int8(r)))
    kept, mean_p = keep_float(writer, ranges, texts, tried[covered])
    model = writer.int8(ranges, kept)
    return model, QuantizationReport(
        **_counts(model),
        weight_limit=weight_limit,
        texts=len(sequences),
        alpha=style.alpha,
        centred=style.centred,
        covered=covered,
        kept_float=kept,
        mean_p=mean_p,
        tried={str(covered): value for covered, value in tried.items()},
        tried_coordinates={str(style): error for style, error in styles.items()},
        magnitudes=magnitudes(channels),
        seconds=round(time.perf_counter() - began, 3),
    )


def _counts(model: onnx.ModelProto) -> dict[str, int]:
    nodes = model.graph.node
    return {
        "nodes": len(nodes),
        "products": sum(node.op_type in _PRODUCTS for node in nodes),
        "gains": sum(node.name.endswith(".gained") for node in nodes),
    }


def _best_style(
    folded: FoldedMobileBert, channels: Mapping[str, ChannelRange], texts: CalibrationTexts, weight_limit: int
) -> tuple[Style, dict[Style, float], _Writer]:
    """The best style, the error of every style at its better coverage, and a writer in the best one."""
    words = quantize_words(folded)
    found: dict[Style, tuple[float, _Writer]] = {}
    for style in STYLES:
        moved = recoordinate(folded, plan_coordinates(folded, channels, style)) if style.alpha else folded
        writer = _Writer(moved, words, weight_limit)
        extremes = writer.extremes(texts)
        errors = [texts.error(writer.int8(ranges_at(extremes, c))) for c in _STYLE_COVERAGES]
        found[style] = min(errors), writer
    best = min(found, key=lambda style: found[style][0])
    return best, {style: error for style, (error, _) in found.items()}, found[best][1]


def keep_float(
    writer: _Writer, ranges: Mapping[str, Range], texts: CalibrationTexts, error: float
) -> tuple[tuple[str, ...], float]:
    """The fewest products to keep in float32 that bring the error to NEAR_ENOUGH, and the error then.

    None of them where `error`, that of all products in int8, is near enough.

    Each product is tried as the only one in int8: first each block as a whole, then the products of the worst
    blocks, _MOST_UNITS at most. The worst 1, 2, 4, ... stay in float32, a quarter of all at most; where even
    that does not bring it near enough, as many as left the smallest error, and the gates will judge.
    """
    if error <= NEAR_ENOUGH:
        return (), error
    names = units(writer.folded)
    few = texts.spread(_UNIT_TEXTS)

    def alone(int8: Collection[str]) -> float:
        return few.error(writer.int8(ranges, set(names) - set(int8)))

    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(".".join(name.split(".")[:2]), []).append(name)
    worst = sorted(groups.values(), key=alone, reverse=True)
    candidates = [name for group in worst for name in group][:_MOST_UNITS]
    order = sorted(candidates, key=lambda name: alone([name]), reverse=True)
    count = 1
    tried: dict[tuple[str, ...], float] = {(): error}
    while min(tried.values()) > NEAR_ENOUGH and count <= max(1, len(names) // 4):
        kept = tuple(order[:count])
        tried[kept] = texts.error(writer.int8(ranges, kept))
        count *= 2
    best = min(tried, key=tried.__getitem__)
    return best, tried[best]
