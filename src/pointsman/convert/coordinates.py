"""Activation-aware coordinates: int8 keeps its precision where a few channels are huge.

A residual stream is quantized with one scale for all channels, so one channel of 1e7 beside others of 10
leaves the others nothing. Fine-tunes of MobileBERT have such channels, at `[CLS]` above all. But the folded
stream's coordinates are free: any positive scale and any offset per channel gives the same function, because
producers and consumers take them into their weights and biases (`express`, `read`, `move`). This is the
smoothing of Xiao et al. 2022 (SmoothQuant, arXiv:2211.10438) and the shifting of Wei et al. 2023 (Outlier
Suppression+, arXiv:2304.09145), here without a node, and exact in real arithmetic.

What is wide in an activation becomes narrow there and wide in the weights that read it. `alpha` says how much
of the width moves: 0 nothing, 1 all of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from pointsman.convert.activation_ranges import ChannelRange
from pointsman.convert.algebra import Affine, Coordinates, Update, Vector, express, move, read
from pointsman.convert.fold import FoldedBlock, FoldedFeedForward, FoldedMobileBert

CUT = 64.0
"""Where a channel grows or shrinks by more, the stream gets new coordinates, for one explicit gain."""

_FLOOR = 0.01
"""Narrower channels count as this share of the median width: a nearly constant one is not scaled up."""


@dataclass(frozen=True, slots=True)
class Style:
    """How coordinates follow from ranges.

    Attributes:
        alpha: share of a channel's width that moves into the weights, 0..1.
        centred: the middle of every channel's range becomes 0.
    """

    alpha: float
    centred: bool

    def __str__(self) -> str:
        return f"{self.alpha}{' centred' if self.centred else ''}"


@dataclass(frozen=True, slots=True)
class StreamCoordinates:
    """New coordinates at every place of the residual streams.

    Attributes:
        hidden: before each block and after the last.
        inner: per block: where it starts, after the attention output, after each feed-forward network.
            Without bottleneck the first and the last are the hidden stream's.
    """

    hidden: tuple[Coordinates, ...]
    inner: tuple[tuple[Coordinates, ...], ...]


def stream_places(folded: FoldedMobileBert) -> list[list[str]]:
    """Names of the places of each residual stream that int8 products read, in order of execution."""
    inner = [
        [f"block.{i}.attention_output", *(f"block.{i}.ffn.{j}.down" for j in range(len(b.feed_forwards)))]
        for i, b in enumerate(folded.blocks)
    ]
    if folded.blocks[0].exit is None:
        return [["embeddings.rows", *(name for names in inner for name in names)]]
    return [["embeddings.rows", *(f"block.{i}.exit" for i in range(len(folded.blocks) - 1))], *inner]


def plan_coordinates(
    folded: FoldedMobileBert, ranges: Mapping[str, ChannelRange], style: Style
) -> StreamCoordinates:
    """Coordinates in which the channels of every stream are as wide as each other.

    Args:
        ranges: by the names of `stream_places`, from calibration texts.
    """
    hidden, *inner = [
        _plan_stream([ranges[name] for name in names], style) for names in stream_places(folded)
    ]
    blocks = len(folded.blocks)
    if not inner:
        per_block = (len(hidden) - 1) // blocks
        starts = range(0, len(hidden) - 1, per_block)
        inner = [hidden[start : start + per_block + 1] for start in starts]
        return StreamCoordinates(
            tuple(hidden[start] for start in (*starts, len(hidden) - 1)), tuple(map(tuple, inner))
        )
    last = Coordinates(hidden[-1].scale, np.zeros_like(hidden[-1].offset))
    return StreamCoordinates(
        (*hidden, last), tuple((Coordinates(n[0].scale, 0.0 * n[0].offset), *n) for n in inner)
    )


def _plan_stream(ranges: Sequence[ChannelRange], style: Style) -> list[Coordinates]:
    """One scale for every run of places whose ranges stay within CUT; an offset for each place."""
    offsets = [(r.low + r.high) / 2 if style.centred else np.zeros_like(r.low) for r in ranges]
    sizes = [np.maximum(np.abs(r.low - o), np.abs(r.high - o)) for r, o in zip(ranges, offsets, strict=True)]
    sizes = [np.maximum(size, max(_FLOOR * float(np.median(size)), 1e-30)) for size in sizes]
    scales: list[Vector] = []
    start = 0
    for end in range(1, len(sizes) + 1):
        if end < len(sizes):
            run = np.stack(sizes[start : end + 1])
            if (run.max(axis=0) <= CUT * run.min(axis=0)).all():
                continue
        width = np.log(np.max(sizes[start:end], axis=0))
        scales += [np.exp(-style.alpha * (width - np.median(width)))] * (end - start)
        start = end
    return [Coordinates(scale, offset) for scale, offset in zip(scales, offsets, strict=True)]


def recoordinate(folded: FoldedMobileBert, places: StreamCoordinates) -> FoldedMobileBert:
    """The same classifier with its streams in other coordinates; exact in real arithmetic."""
    start = places.hidden[0]
    head = read(folded.pooler or folded.classifier, places.hidden[-1])
    blocks = zip(folded.blocks, pairwise(places.hidden), places.inner, strict=True)
    return replace(
        folded,
        transformation=None
        if folded.transformation is None
        else folded.transformation * start.scale[:, None],
        word_scale=None if folded.word_scale is None else folded.word_scale * start.scale,
        positions=(folded.positions - start.offset) * start.scale,
        blocks=tuple(_block(block, before, after, inner) for block, (before, after), inner in blocks),
        pooler=head if folded.pooler else None,
        classifier=folded.classifier if folded.pooler else head,
    )


def _block(
    block: FoldedBlock, before: Coordinates, after: Coordinates, inner: Sequence[Coordinates]
) -> FoldedBlock:
    leave = None
    if block.exit is not None:
        bias = np.zeros(len(block.exit.weight)) if block.exit.bias is None else block.exit.bias
        reading = read(Affine(block.exit.weight, bias), inner[-1])
        leave = move(Update(reading.weight, block.exit.gain, reading.bias), before, after)
    return FoldedBlock(
        query_key_value=read(block.query_key_value, before),
        entry=None if block.entry is None else express(read(block.entry, before), inner[0]),
        attention_output=move(block.attention_output, inner[0], inner[1]),
        feed_forwards=tuple(
            FoldedFeedForward(read(network.up, here), move(network.down, here, there))
            for network, (here, there) in zip(block.feed_forwards, pairwise(inner[1:]), strict=True)
        ),
        exit=leave,
    )
