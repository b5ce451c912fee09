"""The texts that int8 is calibrated on, and how far a graph's answers to them lie from the float graph's."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import onnx
from numpy.typing import NDArray

from pointsman.evaluation.parity import Tokens, answers_alone
from pointsman.runtime.probability import cloud_probability
from pointsman.runtime.session import Session, SessionConfig


@dataclass(frozen=True, slots=True)
class CalibrationTexts:
    """The texts, and what the float graph answers to them.

    Attributes:
        wanted: p(cloud) of each by the float graph, float64 (texts,).
        cloud_index: which logit speaks for `cloud`.
    """

    tokens: Tokens
    wanted: NDArray[np.float64]
    cloud_index: int
    threads: int

    @classmethod
    def answered_by(cls, model: onnx.ModelProto, tokens: Tokens, cloud_index: int, threads: int) -> Self:
        """The texts with the answers of a float graph."""
        asked = cls(tokens, np.zeros(0), cloud_index, threads)
        return replace(asked, wanted=asked._probabilities(model))

    def error(self, model: onnx.ModelProto) -> float:
        """Mean |difference of p(cloud)| to the float graph."""
        return float(np.abs(self._probabilities(model) - self.wanted).mean())

    def spread(self, texts: int) -> Self:
        """About this many of the texts, evenly from all."""
        chosen = slice(None, None, max(1, len(self.tokens) // texts))
        return replace(self, tokens=self.tokens[chosen], wanted=self.wanted[chosen])

    def _probabilities(self, model: onnx.ModelProto) -> NDArray[np.float64]:
        session = Session(model.SerializeToString(), SessionConfig(threads=self.threads))
        return cloud_probability(answers_alone(session, self.tokens), self.cloud_index, None)
