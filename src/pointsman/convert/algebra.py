"""The algebra of MobileBERT: why its graph can shrink although no stock tool shrinks it.

MobileBERT (Sun et al. 2020, arXiv:2004.02984) replaces LayerNorm by NoNorm, `y = w * x + b`. NoNorm is
affine, so everything between two non-linearities (ReLU, softmax, tanh) is one affine map. The steps below
say so one at a time. Each is a small function over float64 weights, exact in real arithmetic; the tests
prove each against the definition it replaces.

A residual stream is kept in its own coordinates: `y = z / scale + offset`, where y is what the checkpoint
means and z is what the graph computes. Chosen well, the coordinates make every NoNorm on the stream
disappear: `read` gives a consumer its weights, `write` gives a producer its weights, and the bias of a
producer is never added at all but carried in the offset until a consumer absorbs it.

Shapes: a linear map has weight (out, in) and bias (out,); norms, scales, offsets and gains are (channels,).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

SCALE_LIMIT = 2.0**20
"""A stream's scale stays within 1/SCALE_LIMIT..SCALE_LIMIT, so that float32 keeps its full precision."""


@dataclass(frozen=True, slots=True)
class Affine:
    """`x -> weight @ x + bias`; weight (out, in), bias (out,)."""

    weight: Matrix
    bias: Vector


@dataclass(frozen=True, slots=True)
class Norm:
    """NoNorm: `x -> weight * x + bias`, channel by channel; both (channels,)."""

    weight: Vector
    bias: Vector


@dataclass(frozen=True, slots=True)
class Coordinates:
    """How a stream is kept: the checkpoint's `y` is `z / scale + offset`; both (channels,), scale never 0."""

    scale: Vector
    offset: Vector


@dataclass(frozen=True, slots=True)
class Update:
    """A residual update: `z' = weight @ u + gain * z + bias`.

    Attributes:
        weight: (channels, in).
        gain: (channels,); None where every channel's gain is 1: a plain sum.
        bias: (channels,); None where nothing is added.
    """

    weight: Matrix
    gain: Vector | None = None
    bias: Vector | None = None


def absorb_norm(linear: Affine, norm: Norm) -> Affine:
    """A NoNorm right after a linear map: `w * (W x + c) + b = (w * W) x + (w * c + b)`."""
    return Affine(linear.weight * norm.weight[:, None], norm.weight * linear.bias + norm.bias)


def compose(outer: Affine, inner: Affine) -> Affine:
    """Two linear maps in a row: `V (W x + c) + d = (V W) x + (V c + d)`."""
    return Affine(outer.weight @ inner.weight, outer.weight @ inner.bias + outer.bias)


def stack(maps: Sequence[Affine]) -> Affine:
    """Linear maps of the same input, side by side in one product."""
    return Affine(np.concatenate([m.weight for m in maps]), np.concatenate([m.bias for m in maps]))


def read(linear: Affine, stream: Coordinates) -> Affine:
    """What a consumer of a stream computes from z: `W y + c = (W / scale) z + (W offset + c)`."""
    return Affine(linear.weight / stream.scale, linear.weight @ stream.offset + linear.bias)


def express(linear: Affine, stream: Coordinates) -> Affine:
    """A linear map whose output starts a stream: `z = scale * (W x + c - offset)`."""
    return Affine(linear.weight * stream.scale[:, None], (linear.bias - stream.offset) * stream.scale)


def write(linear: Affine, norm: Norm, before: Coordinates, scale_after: Vector) -> tuple[Update, Coordinates]:
    """A residual update `y' = w * (F u + f + y) + b` in coordinates, and the coordinates of its result.

    With `offset' = w * (offset + f) + b` the constants cancel, and what is left is
    `z' = (scale' * w * F) u + (scale' * w / scale) z`: a plain sum wherever `scale = scale' * w`.
    """
    push = scale_after * norm.weight
    gain = push / before.scale
    offset = norm.weight * (before.offset + linear.bias) + norm.bias
    plain = bool(np.all(push == before.scale))
    return Update(linear.weight * push[:, None], None if plain else gain), Coordinates(scale_after, offset)


def move(update: Update, before: Coordinates, after: Coordinates) -> Update:
    """The same residual update between other coordinates of the same stream.

    With `z = x / s + o` before and `z' = x' / s' + o'` after, `z' = W u + g * z + b` becomes
    `x' = (s' * W) u + (s' * g / s) * x + s' * (b + g * o - o')`.
    """
    gain = np.ones_like(before.scale) if update.gain is None else update.gain
    bias = np.zeros_like(before.scale) if update.bias is None else update.bias
    bias = after.scale * (bias + gain * before.offset - after.offset)
    plain = bool(np.all(after.scale * gain == before.scale))
    return Update(
        update.weight * after.scale[:, None],
        None if plain else after.scale * gain / before.scale,
        bias if np.any(bias) else None,
    )


def plan_scales(norms: Sequence[Norm], last: Vector) -> list[Vector]:
    """Scales that make every NoNorm of a stream disappear, from the last backwards: `scale = scale' * w`.

    Precondition, channel by channel: `scale' * w` is neither 0 nor out of 1/SCALE_LIMIT..SCALE_LIMIT. A
    channel that fails it cannot be divided back; its scale starts again at 1 there, and `write` keeps that
    norm's gain explicit.

    Args:
        norms: the stream's norms in order of execution.
        last: the scale after the last norm, (channels,).

    Returns:
        Scales before the first norm, ..., after the last: one more than there are norms.
    """
    scales = [last]
    for norm in reversed(norms):
        scale = scales[-1] * norm.weight
        size = np.abs(scale)
        usable = (size >= 1.0 / SCALE_LIMIT) & (size <= SCALE_LIMIT)
        scales.append(np.where(usable, scale, 1.0))
    return scales[::-1]


def position_table(
    positions: Matrix, token_type: Vector, linear_bias: Vector, norm: Norm, scale: Vector
) -> Matrix:
    """Position, the only token type, the transformation's bias and the norm as one table.

    `w * (E + position + type + bias) + b`, of which E comes from the words; the rest is known before any
    query is. Returns (positions, channels), already in the stream's scale.
    """
    return ((positions + token_type + linear_bias) * norm.weight + norm.bias) * scale
