"""Logits to the probability of `cloud`."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pointsman.artifact.manifest import Calibration
from pointsman.errors import NonFiniteOutputError


def cloud_probability(
    logits: NDArray[np.floating[Any]], cloud_index: int, calibration: Calibration | None
) -> NDArray[np.float64]:
    """Probability of `cloud`: `sigmoid(a * margin + b)`, with a = 1, b = 0 (a softmax) without a calibration.

    Args:
        logits: float (batch, 2).
        cloud_index: which column speaks for `cloud`.

    Returns:
        float64 (batch,), 0..1.

    Raises:
        NonFiniteOutputError: NaN or infinity in the logits. An argmax would silently call that `local`.
    """
    if not np.isfinite(logits).all():
        rows = np.flatnonzero(~np.isfinite(logits).all(axis=1))
        raise NonFiniteOutputError(
            f"the model answered NaN or infinity for {len(rows)} of {len(logits)} texts."
        )
    margin = logits[:, cloud_index].astype(np.float64) - logits[:, 1 - cloud_index]
    if calibration is not None:
        margin = calibration.a * margin + calibration.b
    # tanh does not overflow, unlike exp.
    probability: NDArray[np.float64] = 0.5 * (1.0 + np.tanh(0.5 * margin))
    return probability


def log_odds(p_cloud: ArrayLike) -> NDArray[np.float64]:
    """Natural logarithm of p / (1 - p), within the odds that float64 can tell from never and always.

    Args:
        p_cloud: probabilities, 0..1, of any shape.

    Returns:
        float64 of the same shape, -27.7 to 27.7.
    """
    kept = np.clip(np.asarray(p_cloud, np.float64), 1e-12, 1.0 - 1e-12)
    odds: NDArray[np.float64] = np.log(kept) - np.log1p(-kept)
    return odds


def softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Probabilities of all classes, uncalibrated.

    Args:
        logits: float (batch, labels), finite.

    Returns:
        float64 (batch, labels); every row sums to 1.
    """
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    exponentials: NDArray[np.float64] = np.exp(shifted)
    exponentials /= exponentials.sum(axis=-1, keepdims=True)
    return exponentials
