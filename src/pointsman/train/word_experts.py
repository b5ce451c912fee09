"""Word experts fitted: ridges on the gain for each family of questions, and a gate that knows their topics.

An expert is a ridge over all families, in which small ones count more than by their rows, and a ridge on
what that leaves of its own family. The expert of everyday texts is a logistic regression on their rules.
Chats, in which the order of the turns decides, are left to the network. The gate is a logistic regression
over all of these, or over the subjects of each family, whose mean gains are then levels beside the experts.
All read how often each word piece stands in a text, over the root of the text's length.
"""

import json
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from transformers import AutoTokenizer

from pointsman.checkpoint.word_experts import TABLE_LIMIT, UNIT, WordExperts
from pointsman.errors import CheckpointError, DataError
from pointsman.runtime.chat import MARK
from pointsman.train.batches import encode
from pointsman.train.data import Example
from pointsman.train.experts import balanced_weights
from pointsman.train.recipe import Recipe, WordExpertSettings
from pointsman.train.split import Split
from pointsman.train.state import replaced, write_json

EVERYDAY = ""
"""The family of what was not measured."""
CHATS = MARK
"""The family of what has earlier turns; no measured one is named so."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Words:
    """Texts as word pieces.

    Attributes:
        special: ids that say nothing of a text; they count in its length.
    """

    ids: Sequence[Sequence[int]]
    vocabulary: int
    special: Sequence[int] = ()

    def features(self) -> csr_matrix:
        """Counts over the root of the length, float64 (texts, vocabulary)."""
        lengths = np.array([len(row) for row in self.ids])
        rows = np.repeat(np.arange(len(lengths)), lengths)
        columns = np.concatenate([np.asarray(row, np.int64) for row in self.ids])
        values = np.where(np.isin(columns, list(self.special)), 0.0, 1.0 / np.sqrt(lengths[rows]))
        made = csr_matrix((values, (rows, columns)), shape=(len(lengths), self.vocabulary))
        made.eliminate_zeros()
        return made


def fit_word_experts(
    words: Words, gains: Floats, family: Sequence[str], how: WordExpertSettings, subject: Sequence[str] = ()
) -> WordExperts:
    """One expert for each family, and for everyday texts and for chats where there are some.

    Args:
        words: the texts.
        gains: expected gain of each measured text, the rule's target of any other, float64 (texts,).
        family: of each text; `EVERYDAY` or `CHATS` for what was not measured.
        how: penalties, and what the experts count in log-odds.
        subject: of each text; none without subjects, or where `how.subject_strength` is 0.
    """
    features, names = words.features(), np.array(family)
    unmeasured = [name for name in (EVERYDAY, CHATS) if name in family]
    measured = ~np.isin(names, unmeasured)
    weights = balanced_weights(names, measured)[measured]
    surplus = gains - np.average(gains[measured], weights=weights)
    columns, biases = _ridges(features[measured], surplus[measured], names[measured], weights, how)
    for name in unmeasured:
        own = names == name
        silent = np.zeros(words.vocabulary), 0.0
        column, biases[name] = silent if name == CHATS else _everyday(features[own], gains[own] >= 0.5, how)
        columns.append(column)
    pairs = [
        (name, said if how.subject_strength and is_measured else "")
        for name, said, is_measured in zip(family, subject or [""] * len(family), measured, strict=True)
    ]
    place = {pair: topic for topic, pair in enumerate(sorted(set(pairs)))}
    topics = np.array([place[pair] for pair in pairs])
    first = np.unique(topics, return_index=True)[1]
    means = np.array([surplus[topics == topic].mean() for topic in range(len(place))])
    levels = [biases[name] for name in names[first]] + how.subject_strength * np.where(
        measured[first], means, 0.0
    )
    expert = [list(biases).index(name) for name in names[first]]
    gate, gate_bias = _gate(features, topics, np.where(measured, 1.0, how.gate_everyday), how)
    return WordExperts.rounded(np.vstack([gate, *columns]).T, gate_bias, levels, expert)


def word_experts_from(
    examples: Sequence[Example], tokenizer: Any, vocabulary: int, recipe: Recipe
) -> WordExperts:
    """The experts that a recipe asks for.

    Args:
        examples: to learn from. A measured one counts once, whatever its repeats; one that is ruled, and
            not by an opinion, is an everyday text.

    Raises:
        DataError: no example is measured.
        CheckpointError: the experts are too large for their file.
    """
    how = recipe.word_experts
    measured = list({(e.query, e.source): e for e in examples if e.is_measured}.values())
    if not measured:
        raise DataError(
            f"recipe {recipe.name}: word experts learn from measured questions; add [[outcomes]] with rows."
        )
    everyday = [e for e in examples if not e.is_measured and not e.opinion]
    drawn = np.random.default_rng(recipe.seed).permutation(len(everyday))[: how.everyday]
    chosen = [*measured, *(everyday[i] for i in drawn)]
    ids = encode(tokenizer, [e.query for e in chosen], recipe.student.max_tokens)
    gains = np.array([e.p_cloud or 0.0 for e in chosen], np.float64)
    family = [e.source if e.is_measured else CHATS if MARK in e.query else EVERYDAY for e in chosen]
    words = Words(ids, vocabulary, tokenizer.all_special_ids)
    return fit_word_experts(words, gains, family, how, [e.subject for e in chosen])


def put_beside(base: str | None, recipe: Recipe, split: Split, output: Path) -> Path:
    """A copy of a checkpoint with the recipe's word experts; returns the directory `output`/checkpoint.

    A calibration stays; `pointsman calibrate` fits it again, or measures its curve alone (`--method none`).

    Raises:
        CheckpointError: the base is no checkpoint directory.
        TrainingError: the disk refused.
    """
    source = Path(base or "")
    if base is None or not (source / "config.json").is_file():
        raise CheckpointError(f"base {base!r}: word experts stand beside a checkpoint. Name its directory.")
    vocabulary = json.loads((source / "config.json").read_bytes())["vocab_size"]
    experts = word_experts_from(split.train, AutoTokenizer.from_pretrained(source), vocabulary, recipe)
    known = (
        json.loads((source / "training.json").read_bytes()) if (source / "training.json").is_file() else {}
    )
    with replaced(output / "checkpoint") as partial:
        shutil.copytree(source, partial, ignore=shutil.ignore_patterns("README.md"), dirs_exist_ok=True)
        experts.write(partial)
        facts = {
            "recipe": recipe.name,
            "experts": experts.count,
            "topics": experts.topics,
            **asdict(recipe.word_experts),
        }
        write_json(partial / "training.json", {**known, "word_experts": facts})
    return output / "checkpoint"


def _ridges(
    features: csr_matrix, gains: Floats, family: NDArray[np.str_], weights: Floats, how: WordExpertSettings
) -> tuple[list[Floats], dict[str, float]]:
    """Weights of the words and bias of each family's expert, in the order of their names."""
    joint, level = _ridge(features, gains, how.joint_penalty, weights)
    columns, biases = [], {}
    for name in sorted(set(family)):
        own = family == name
        column, bias = _ridge(
            features[own], gains[own] - features[own] @ joint - level, how.family_penalty, None
        )
        columns.append(how.strength * (joint + column))
        biases[name] = how.strength * (level + bias)
    return columns, biases


def _ridge(features: csr_matrix, wanted: Floats, penalty: float, weights: Any) -> tuple[Floats, float]:
    model = Ridge(alpha=penalty, solver="sparse_cg", max_iter=200, tol=1e-4)
    model.fit(features, wanted, sample_weight=weights)
    return model.coef_, float(model.intercept_)


def _everyday(
    features: csr_matrix, is_cloud: NDArray[np.bool_], how: WordExpertSettings
) -> tuple[Floats, float]:
    """Log-odds of cloud by the words of everyday texts; zeros where they are not asked or all alike."""
    if not how.everyday_strength or is_cloud.all() or not is_cloud.any():
        return np.zeros(features.shape[1]), 0.0
    model = LogisticRegression(C=1.0 / how.everyday_penalty, max_iter=200, tol=1e-3).fit(features, is_cloud)
    return how.everyday_strength * model.coef_[0], how.everyday_strength * float(model.intercept_[0])


def _gate(
    features: csr_matrix, topics: NDArray[np.int64], weights: Floats, how: WordExpertSettings
) -> tuple[Floats, Floats]:
    """Weights (topics, vocabulary) and biases of a softmax over the topics, in their order.

    A weight that the table cannot hold, of a token that all but decides, is cut to the largest that it can.
    """
    if len(set(topics)) == 1:
        return np.zeros((1, features.shape[1])), np.zeros(1)
    model = LogisticRegression(C=1.0 / how.gate_penalty, max_iter=how.gate_iterations)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features, topics, sample_weight=weights)
    found, biases = model.coef_, model.intercept_
    if len(biases) == 1:  # of two topics, one row for the second alone
        found, biases = np.vstack([0.0 * found, found]), np.array([0.0, biases[0]])
    limit = TABLE_LIMIT - UNIT
    return np.clip(found, -limit, limit), biases
