"""Word experts: a linear part that stands beside a network and adds to the margin of its logits.

A deep part with a wide one beside it (Cheng et al. 2016, arXiv:1606.07792), the wide one a mixture of linear
experts (Jacobs et al. 1991). A gate says which of T topics a text is of; each topic has a level and one of
the K experts. With the ids x_1..x_n of a text's tokens, special ones included, and rows of T numbers G and of
K numbers E for every token:

    gate = softmax(sum_i G[x_i] / sqrt(n) + gate_bias)
    opinion_t = (sum_i E[x_i] / sqrt(n))_expert(t) + level_t, cut to -32..32
    margin = sum_t gate_t * opinion_t

The logit of cloud less that of local grows by the margin. With T = 1 the gate is 1, and it is a linear model.
The table holds whole multiples of 2^-10 below 32, so float32 sums of up to 512 rows are exact in any order:
padding, batch mates and threads cannot move them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from pointsman.errors import CheckpointError

WORD_EXPERTS = "word_experts.safetensors"
UNIT = 2.0**-10
"""What an entry of the table counts."""
TABLE_LIMIT = -np.iinfo(np.int16).min * UNIT
"""Entries of the table are below this in magnitude: 32."""
BIAS_LIMIT = 64.0
OPINION_LIMIT = 32.0
"""No opinion is larger in magnitude: a probability is within 10^-13 of 0 or 1 there."""
_EXACT_UNITS = 2**24
"""Float32 holds every whole number up to here."""
_FORMAT = {"word_experts": "2"}
"""One key, because several are written in any order: the same experts are the same file."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class WordExperts:
    """K experts and the gate of T topics, checked.

    Attributes:
        table: int16 (vocabulary, T + K), in units of 2^-10: T columns of the gate, then K of the experts.
        gate_bias: float32 (T,), at most 64 in magnitude.
        level: float32 (T,), what a topic adds to its expert, at most 64 in magnitude.
        expert: int64 (T,), the expert of each topic, 0..K-1.

    Raises:
        CheckpointError: another shape or dtype, a number that is not finite or too large, or no such expert.
    """

    table: NDArray[np.int16]
    gate_bias: NDArray[np.float32]
    level: NDArray[np.float32]
    expert: NDArray[np.int64]

    def __post_init__(self) -> None:
        table, topics = self.table, (np.size(self.gate_bias),)
        for name, dtype in (("gate_bias", np.float32), ("level", np.float32), ("expert", np.int64)):
            found = getattr(self, name)
            if found.shape != topics or found.dtype != dtype:
                raise CheckpointError(
                    f"word experts: {name}: expected {np.dtype(dtype)} {topics}, "
                    f"found {found.dtype} {found.shape}."
                )
            if dtype is np.float32 and not (np.abs(found) <= BIAS_LIMIT).all():
                raise CheckpointError(
                    f"word experts: {name}: expected at most {BIAS_LIMIT:g} in magnitude, "
                    f"found {np.abs(found).max():g}. Regularise the experts more."
                )
        if table.ndim != 2 or table.dtype != np.int16 or not table.size or self.count < 1:
            raise CheckpointError(
                f"word experts: table: expected int16 (vocabulary, {topics[0]} topics and the experts), "
                f"found {table.dtype} {table.shape}."
            )
        if not ((self.expert >= 0) & (self.expert < self.count)).all():
            raise CheckpointError(f"word experts: expert: expected 0..{self.count - 1}, found {self.expert}.")

    @classmethod
    def rounded(cls, table: Floats, gate_bias: ArrayLike, level: ArrayLike, expert: ArrayLike) -> Self:
        """The experts of a real table, float64 (vocabulary, T + K), rounded to whole units.

        Raises:
            CheckpointError: a value that is not finite, or 32 and more in magnitude.
        """
        units = np.rint(table / UNIT)
        limits = np.iinfo(np.int16)
        if not ((units >= limits.min) & (units <= limits.max)).all():
            raise CheckpointError(
                f"word experts: table: expected numbers below {TABLE_LIMIT:g} in magnitude, "
                f"found {np.abs(table).max():g}. Regularise the experts more."
            )
        return cls(
            units.astype(np.int16),
            np.array(gate_bias, np.float32),
            np.array(level, np.float32),
            np.array(expert, np.int64),
        )

    @property
    def topics(self) -> int:
        """How many topics the gate knows, T."""
        return len(self.gate_bias)

    @property
    def count(self) -> int:
        """How many experts there are, K."""
        return int(self.table.shape[1]) - self.topics

    @property
    def exact_tokens(self) -> int:
        """The longest text, in tokens, whose sums float32 holds exactly, of low bytes, too; at least 512."""
        largest = int(np.abs(self.table.astype(np.int32)).max())
        return int(_EXACT_UNITS // max(255, largest))

    def margins(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> Floats:
        """What the margins of a batch grow by, by the definition, float64 (batch,).

        Args:
            input_ids: (batch, length); under mask 0 they may be anything.
            attention_mask: the same shape; 1 on tokens, 0 on padding.
        """
        real = attention_mask != 0
        rows = self.table[np.where(real, input_ids, 0)] * real[:, :, None].astype(np.int64)
        root = np.sqrt(np.maximum(real.sum(axis=1, keepdims=True), 1))
        gate, said = np.split(rows.sum(axis=1) * UNIT / root, [self.topics], axis=1)
        gate = gate + self.gate_bias
        gate = np.exp(gate - gate.max(axis=1, keepdims=True))
        opinions = np.clip(said[:, self.expert] + self.level, -OPINION_LIMIT, OPINION_LIMIT)
        margins: Floats = (gate * opinions).sum(axis=1) / gate.sum(axis=1)
        return margins

    def write(self, directory: Path) -> None:
        """Write the file beside a checkpoint's weights."""
        tensors = {name: np.ascontiguousarray(getattr(self, name)) for name in self.__slots__}
        save_file(tensors, directory / WORD_EXPERTS, metadata=_FORMAT)


def read_word_experts(directory: Path, vocabulary: int | None) -> WordExperts | None:
    """The word experts beside a checkpoint's weights; None where there are none.

    Args:
        vocabulary: tokens that its network knows; None does not compare.

    Raises:
        CheckpointError: the file is not understood, or is of another vocabulary.
    """
    path = directory / WORD_EXPERTS
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="numpy") as opened:
            found = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}. Copy the checkpoint again.") from None
    if {key: found.get(key) for key in _FORMAT} != _FORMAT:
        raise CheckpointError(
            f"{path}: expected metadata {_FORMAT}, found {found}: of another version of pointsman. "
            "Fit the experts again with their recipe (pointsman distill RECIPE --base CHECKPOINT), "
            "or delete the file, which leaves the network alone."
        )
    if set(tensors) != set(WordExperts.__slots__):
        raise CheckpointError(f"{path}: expected {sorted(WordExperts.__slots__)}, found {sorted(tensors)}.")
    try:
        experts = WordExperts(**tensors)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    if vocabulary is not None and len(experts.table) != vocabulary:
        raise CheckpointError(
            f"{path}: expected a row for each of {vocabulary} tokens, found {len(experts.table)}: "
            "another vocabulary."
        )
    return experts
