"""Word vectors to 8 bit, rounded so that the product that reads them errs least.

Rounding every entry to its nearest step makes the smallest error of the vector, not of what is computed from
it. Here a channel's rounding error is passed on to the channels that are still to be rounded, weighted by
what the reading product makes of them: the order-2 rounding of Frantar et al. 2022 (GPTQ, arXiv:2210.17323),
which rounds a weight for the inputs it meets, turned round. The steps and the cost at run time stay.
"""

import numpy as np
from numpy.typing import NDArray

from pointsman.convert.algebra import Matrix, Vector

DAMPING = 0.01
"""Added to the diagonal, as a share of its mean: keeps the inverse of a singular product's square bounded."""

_BLOCK = 16


def round_words(words: NDArray[np.float32], scale: Vector, reader: Matrix) -> NDArray[np.int8]:
    """Integers with `scale * integers ~ words`, chosen for `reader @ word`.

    Args:
        words: float32 (vocabulary, channels).
        scale: one step a channel, (channels,).
        reader: what multiplies a word: (out, channels), or (out, n x channels) where a word stands n times.

    Returns:
        int8 (vocabulary, channels).
    """
    channels = words.shape[1]
    parts = np.split(reader, reader.shape[1] // channels, axis=1)
    square = sum((part.T @ part for part in parts), start=np.zeros((channels, channels)))
    square += np.eye(channels) * (DAMPING * np.trace(square) / channels or 1.0)
    order = np.argsort(-np.diag(square))
    factor = np.linalg.cholesky(np.linalg.inv(square[np.ix_(order, order)])).T
    spread = (factor / np.diag(factor)[:, None]).astype(np.float32)
    rest = np.ascontiguousarray(words.T[order], np.float32)
    steps, rounded = scale[order].astype(np.float32), np.empty(rest.shape, np.int8)
    for start in range(0, channels, _BLOCK):
        end = min(start + _BLOCK, channels)
        errors = np.empty((end - start, len(words)), np.float32)
        for row in range(start, end):
            rest[row] -= spread[start:row, row] @ errors[: row - start]
            rounded[row] = np.clip(np.rint(rest[row] / steps[row]), -128, 127)
            errors[row - start] = rest[row] - rounded[row] * steps[row]
        rest[end:] -= spread[start:end, end:].T @ errors
    result = np.empty_like(rounded)
    result[order] = rounded
    return np.ascontiguousarray(result.T)
