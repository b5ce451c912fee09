"""What the activations of a folded graph lie between, measured on text."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper

from pointsman.convert.int8 import Range
from pointsman.runtime.batching import pad, plan_batches


def row_extremes(
    model: onnx.ModelProto, watched: Sequence[str], sequences: Sequence[Sequence[int]], *, threads: int
) -> dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Smallest and largest value of every row (token) of every watched value.

    Texts run in batches of equal length, so no padding is measured.

    Args:
        model: the folded float graph.
        watched: names of float values (rows, channels) in it.
        sequences: token ids.
        threads: intra-op threads.

    Returns:
        By name: float32 (tokens seen,) of minima and of maxima.
    """
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    probe.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in watched
    )
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = ort.InferenceSession(probe.SerializeToString(), options, providers=["CPUExecutionProvider"])
    lows: dict[str, list[NDArray[np.float32]]] = {name: [] for name in watched}
    highs: dict[str, list[NDArray[np.float32]]] = {name: [] for name in watched}
    for batch in plan_batches([len(s) for s in sequences], max_padding_share=0.0):
        ids, mask = pad([sequences[index] for index in batch], pad_id=0)
        for name, value in zip(
            watched, session.run(list(watched), {"input_ids": ids, "attention_mask": mask}), strict=True
        ):
            lows[name].append(value.min(axis=-1).ravel())
            highs[name].append(value.max(axis=-1).ravel())
    return {name: (np.concatenate(lows[name]), np.concatenate(highs[name])) for name in watched}


def ranges_at(
    extremes: Mapping[str, tuple[NDArray[np.float32], NDArray[np.float32]]], covered: float
) -> dict[str, Range]:
    """Ranges that hold a share of all tokens whole; the rest saturates.

    Args:
        extremes: from `row_extremes`.
        covered: 1.0 takes the smallest and the largest value; less cuts the tails of rare tokens.
    """
    return {
        name: Range(
            min(0.0, float(np.quantile(low, 1.0 - covered))), max(0.0, float(np.quantile(high, covered)))
        )
        for name, (low, high) in extremes.items()
    }
