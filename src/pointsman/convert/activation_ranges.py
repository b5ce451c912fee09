"""What the activations of a folded graph lie between, measured on text."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper

from pointsman.convert.algebra import Vector
from pointsman.convert.int8 import Range
from pointsman.runtime.batching import pad, plan_batches

Extremes = Mapping[str, tuple[NDArray[np.float32], NDArray[np.float32]]]
"""By name: the smallest and the largest value of every row (token), float32 (tokens,) each."""


@dataclass(frozen=True, slots=True)
class ChannelRange:
    """The smallest and the largest value of every channel over all tokens; both float64 (channels,)."""

    low: Vector
    high: Vector


def row_extremes(
    model: onnx.ModelProto, watched: Sequence[str], sequences: Sequence[Sequence[int]], *, threads: int
) -> Extremes:
    """Smallest and largest value of every row (token) of every watched value.

    Args:
        watched: names of float values (rows, channels) in it.

    Returns:
        By name: float32 (tokens seen,) of minima and of maxima.
    """
    lows: dict[str, list[NDArray[np.float32]]] = {name: [] for name in watched}
    highs: dict[str, list[NDArray[np.float32]]] = {name: [] for name in watched}
    for values in _observed(model, watched, sequences, threads):
        for name, value in values.items():
            lows[name].append(value.min(axis=-1).ravel())
            highs[name].append(value.max(axis=-1).ravel())
    return {name: (np.concatenate(lows[name]), np.concatenate(highs[name])) for name in watched}


def channel_ranges(
    model: onnx.ModelProto, watched: Sequence[str], sequences: Sequence[Sequence[int]], *, threads: int
) -> dict[str, ChannelRange]:
    """Smallest and largest value of every channel of every watched value; arguments as of `row_extremes`."""
    seen: dict[str, list[tuple[Vector, Vector]]] = {name: [] for name in watched}
    for values in _observed(model, watched, sequences, threads):
        for name, value in values.items():
            rows = value.reshape(-1, value.shape[-1]).astype(np.float64)
            seen[name].append((rows.min(axis=0), rows.max(axis=0)))
    return {
        name: ChannelRange(
            np.min([low for low, _ in pairs], axis=0), np.max([high for _, high in pairs], axis=0)
        )
        for name, pairs in seen.items()
    }


def _observed(
    model: onnx.ModelProto, watched: Sequence[str], sequences: Sequence[Sequence[int]], threads: int
) -> Iterator[dict[str, NDArray[np.float32]]]:
    """The watched values, batch by batch; texts of equal length share one, so no padding is measured."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    probe.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in watched
    )
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = ort.InferenceSession(probe.SerializeToString(), options, providers=["CPUExecutionProvider"])
    for batch in plan_batches([len(s) for s in sequences], max_padding=0):
        ids, mask = pad([sequences[index] for index in batch], pad_id=0)
        values = session.run(list(watched), {"input_ids": ids, "attention_mask": mask})
        yield dict(zip(watched, values, strict=True))


def magnitudes(channels: Mapping[str, ChannelRange]) -> dict[str, Any]:
    """Where the watched values are largest: the place, the largest |value|, the median channel's."""
    sizes = {name: np.maximum(np.abs(c.low), np.abs(c.high)) for name, c in channels.items()}
    place = max(sizes, key=lambda name: float(sizes[name].max()))
    return {
        "place": place,
        "largest": float(sizes[place].max()),
        "median_channel": float(np.median(sizes[place])),
    }


def ranges_at(extremes: Extremes, covered: float) -> dict[str, Range]:
    """Ranges that hold a share of all tokens whole; the rest saturates.

    Args:
        covered: 1.0 takes the smallest and the largest value; less cuts the tails of rare tokens.
    """
    return {
        name: Range(
            min(0.0, float(np.quantile(low, 1.0 - covered))), max(0.0, float(np.quantile(high, covered)))
        )
        for name, (low, high) in extremes.items()
    }


def best_ranges(
    extremes: Extremes, coverages: Sequence[float], error: Callable[[dict[str, Range]], float]
) -> tuple[float, dict[str, Range], dict[float, float]]:
    """The coverage whose ranges have the smallest error, those ranges, and the error of every coverage."""
    tried = {covered: error(ranges_at(extremes, covered)) for covered in coverages}
    best = min(tried, key=tried.__getitem__)
    return best, ranges_at(extremes, best), tried
