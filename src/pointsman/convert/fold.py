"""From a MobileBERT to its folded form: the algebra applied, step by step, with a record of each.

The folded form is what the graph computes and nothing else: one product for query, key and value; one for
the block's residual input; one for the attention output; two for each feed-forward network; one to leave the
block. No NoNorm, no bias on any residual branch. The last block computes keys and values for all
tokens and everything else for the first one, because only `[CLS]` is read.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pointsman.convert.algebra import (
    Affine,
    Coordinates,
    Matrix,
    Norm,
    Update,
    Vector,
    express,
    plan_scales,
    position_table,
    read,
    stack,
    write,
)
from pointsman.convert.mobilebert import Block, MobileBert


@dataclass(frozen=True, slots=True)
class Step:
    """What one step did: its name, how many places it changed, how many it refused, and why."""

    name: str
    done: int
    refused: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class FoldedFeedForward:
    """`z' = down(act(up @ z), z)`."""

    up: Affine
    down: Update


@dataclass(frozen=True, slots=True)
class FoldedBlock:
    """One block in coordinates.

    Attributes:
        query_key_value: three stacked maps of the hidden stream, (3 x inner, hidden).
        entry: the inner stream's start from the hidden stream, (inner, hidden); None where it is the stream.
        attention_output: onto the inner stream, (inner, inner).
        exit: back onto the hidden stream, (hidden, inner); None without bottleneck.
    """

    query_key_value: Affine
    entry: Affine | None
    attention_output: Update
    feed_forwards: tuple[FoldedFeedForward, ...]
    exit: Update | None


@dataclass(frozen=True, slots=True)
class FoldedMobileBert:
    """A whole classifier in coordinates.

    Attributes:
        trigram: whether a token is read with its two neighbours.
        words: float32 (vocabulary, embedding).
        mask_words: the padding row is not zero, so words must be masked before a neighbour reads them.
        transformation: (hidden, 3 x embedding or embedding), no bias; None where words are added as they are.
        word_scale: what words are multiplied by where there is no transformation, (hidden,); else None.
        positions: (positions, hidden): position, token type, bias and norm in one.
        pooler: before the tanh; None without.
        classifier: (labels, hidden).
        steps: what was folded, and what was refused.
    """

    heads: int
    activation: str
    trigram: bool
    words: NDArray[np.float32]
    mask_words: bool
    transformation: Matrix | None
    word_scale: Vector | None
    positions: Matrix
    blocks: tuple[FoldedBlock, ...]
    pooler: Affine | None
    classifier: Affine
    steps: tuple[Step, ...]


def fold(model: MobileBert) -> FoldedMobileBert:
    """Fold a whole classifier. Exact in real arithmetic; every refusal is in `steps`."""
    if model.config.use_bottleneck:
        scales = plan_scales([b.exit[1] for b in model.blocks if b.exit], np.ones(model.config.hidden_size))
    else:
        norms = [norm for block in model.blocks for norm in _inner_norms(block)]
        scales = plan_scales(norms, np.ones(model.config.hidden_size))
    norm = model.embedding_norm
    linear = model.embedding_transformation
    bias = linear.bias if linear else np.zeros(model.config.hidden_size)
    stream = Coordinates(scales[0], np.zeros_like(scales[0]))
    blocks = []
    per_block = 1 if model.config.use_bottleneck else 1 + len(model.blocks[0].feed_forwards)
    for index, block in enumerate(model.blocks):
        following = scales[index * per_block + 1 : (index + 1) * per_block + 1]
        folded, stream = _fold_block(block, stream, following)
        blocks.append(folded)
    head = model.pooler or model.classifier
    read_head = read(head, stream)
    words = model.word_embeddings
    return FoldedMobileBert(
        heads=model.config.num_attention_heads,
        activation=model.config.hidden_act,
        trigram=model.config.trigram_input,
        words=words,
        mask_words=bool(np.any(words[model.config.pad_token_id])) and model.config.trigram_input,
        transformation=linear.weight * (norm.weight * scales[0])[:, None] if linear else None,
        word_scale=None if linear else norm.weight * scales[0],
        positions=position_table(model.positions, model.token_type, bias, norm, scales[0]),
        blocks=tuple(blocks),
        pooler=read_head if model.pooler else None,
        classifier=model.classifier if model.pooler else read_head,
        steps=_account(model, blocks),
    )


def _inner_norms(block: Block) -> list[Norm]:
    return [block.attention_output[1], *(f.norm for f in block.feed_forwards)]


def _fold_block(
    block: Block, hidden: Coordinates, following: Sequence[Vector]
) -> tuple[FoldedBlock, Coordinates]:
    """Fold one block; `following` are the hidden stream's scales after each of its updates in this block."""
    attention, attention_norm = block.attention_output
    if block.entry is not None:
        inner_scales = plan_scales(_inner_norms(block), np.ones(len(attention.bias)))
        inner = Coordinates(inner_scales[0], np.zeros_like(inner_scales[0]))
        entry = read(express(block.entry, inner), hidden)
        after = inner_scales[1:]
    else:
        entry, inner, after = None, hidden, list(following)
    attended, stream = write(attention, attention_norm, inner, after[0])
    feed_forwards = []
    for network, scale in zip(block.feed_forwards, after[1:], strict=True):
        up = read(network.up, stream)
        down, stream = write(network.down, network.norm, stream, scale)
        feed_forwards.append(FoldedFeedForward(up, down))
    leave: Update | None = None
    if block.exit is not None:
        linear, norm = block.exit
        leave, stream = write(read(linear, stream), norm, hidden, following[0])
    folded = FoldedBlock(
        query_key_value=stack([read(part, hidden) for part in (block.query, block.key, block.value)]),
        entry=entry,
        attention_output=attended,
        feed_forwards=tuple(feed_forwards),
        exit=leave,
    )
    return folded, stream


def _account(model: MobileBert, blocks: Sequence[FoldedBlock]) -> tuple[Step, ...]:
    """What was done where, from the result itself: a gain that is left is a norm that was refused."""
    gains = [g for b in blocks for g in (b.attention_output.gain, *(f.down.gain for f in b.feed_forwards))]
    gains += [b.exit.gain for b in blocks if b.exit]
    kept = [gain for gain in gains if gain is not None]
    channels = sum(int(np.count_nonzero(gain != 1.0)) for gain in kept)
    bottlenecks = sum(b.entry is not None for b in model.blocks)
    shared = (
        bottlenecks
        if not model.config.use_bottleneck_attention and model.config.key_query_shared_bottleneck
        else 0
    )
    return (
        Step("absorb_norm", bottlenecks + shared + 1),
        Step(
            "residual_coordinates",
            len(gains) - len(kept),
            len(kept),
            f"{channels} channels have a scale that cannot be divided back; those norms stay explicit."
            if kept
            else "",
        ),
        Step("carry_bias", len(gains)),
        Step(
            "compose_bottleneck",
            2 * shared + (3 * bottlenecks if model.config.use_bottleneck_attention else 0),
        ),
        Step("stack_projections", 3 * len(blocks)),
        Step("first_token_only", 1),
        Step("position_table", 1),
    )
