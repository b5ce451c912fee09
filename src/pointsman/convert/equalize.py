"""One scale for a whole weight instead of one a channel, at no loss: the ReLU lets scales pass.

`relu(c * u) = c * relu(u)` for c > 0, so what a channel of `up` is divided by, the column of `down` that
reads it can be multiplied by. Chosen so that every channel's largest weight is 1, one scale fits all of
`up`, and ONNX Runtime's product is faster with one scale than with one a channel. The network is the same in
real arithmetic. (Nagel et al. 2019, arXiv:1906.04721, equalize for precision; this does it for speed.)
"""

from dataclasses import replace

import numpy as np

from pointsman.convert.algebra import Affine
from pointsman.convert.fold import FoldedFeedForward, FoldedMobileBert


def equalize(folded: FoldedMobileBert) -> FoldedMobileBert:
    """The same network with the largest weight of every ReLU channel at 1; others are left as they are."""
    if folded.activation != "relu":
        return folded
    blocks = [
        replace(block, feed_forwards=tuple(map(_equalized, block.feed_forwards))) for block in folded.blocks
    ]
    return replace(folded, blocks=tuple(blocks))


def _equalized(network: FoldedFeedForward) -> FoldedFeedForward:
    largest = np.abs(network.up.weight).max(axis=1)
    scale = np.where(largest > 0, largest, 1.0)
    up = Affine(network.up.weight / scale[:, None], network.up.bias / scale)
    return FoldedFeedForward(up, replace(network.down, weight=network.down.weight * scale))
