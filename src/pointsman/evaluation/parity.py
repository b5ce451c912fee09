"""Is a converted model the same model? Two answers to the same tokens, judged where it matters.

An absolute tolerance on logits is the wrong gate for MobileBERT: its activations are not normalised, and a
common offset of all logits cancels in the softmax. So the gates are on probability, label and (for int8)
their means; logit differences are reported, and the relative error against float64 is the honest judge of
arithmetic. A query's answer is its answer alone and unpadded: that, too, is measured here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pointsman.errors import ParityError
from pointsman.runtime.batching import pad, plan_batches
from pointsman.runtime.probability import cloud_probability
from pointsman.runtime.scheduler import Scheduler

EXCELLENT, ACCEPTABLE, WARNING = 1e-5, 1e-4, 1e-3
"""The guide's thresholds, read as differences of probability."""

_WORST_SHOWN = 5
_INVARIANCE_TEXTS = 64

Tokens = Sequence[Sequence[int]]


class Backend(Protocol):
    """Anything that answers a padded batch of tokens with logits; `threads` runs may go on side by side."""

    threads: int

    def run(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """Logits, float (batch, labels)."""
        ...


@dataclass(frozen=True, slots=True)
class Gate:
    """What a variant must hold to be published.

    Attributes:
        max_p: largest |difference of p(cloud)| on any text; None does not gate it.
        mean_p: mean |difference of p(cloud)|; None does not gate it.
        label_agreement: least share of texts with the same label, 0..1.
        invariance: largest |difference of p(cloud)| between a text alone and in a padded, shuffled batch.
        times_torch: `max_p` may be exceeded up to this multiple of PyTorch's own float32 error to float64,
            on the largest difference and on the 99 % quantile; 0 never lets it.
    """

    max_p: float | None
    mean_p: float | None
    label_agreement: float
    invariance: float = 1e-4
    times_torch: float = 0.0


EXACT = Gate(max_p=ACCEPTABLE, mean_p=None, label_agreement=1.0, times_torch=2.0)
QUANTIZED = Gate(max_p=None, mean_p=0.01, label_agreement=0.995)
HALF = Gate(max_p=0.01, mean_p=1e-3, label_agreement=0.995, invariance=1e-2)


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One text on which two models differ: both probabilities of cloud, 0..1."""

    text: str
    reference: float
    found: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """One variant against the reference.

    Attributes:
        lengths: shortest and longest, in tokens.
        max_p: largest |difference of p(cloud)| to float64, or to float32 where there is no float64 reference.
        torch_max_p: the same of PyTorch in float32; 0 without a float64 reference.
        max_logit: largest |difference of a logit|: information, not a gate.
        max_margin: largest |difference of logit_cloud - logit_local|: information, not a gate.
        relative_error: of the logits against float64, in the 2-norm; None without a float64 reference.
        label_agreement: share of texts with the same label, 0..1.
        invariance: largest |difference of p(cloud)| of a text alone and in a padded, shuffled batch.
        verdict: `excellent`, `acceptable`, `warning` or `different`, by max_p and the guide's thresholds.
        failures: the gates that it did not hold, in words; empty when it may be published.
    """

    variant: str
    texts: int
    lengths: tuple[int, int]
    max_p: float
    torch_max_p: float
    mean_p: float
    max_logit: float
    max_margin: float
    relative_error: float | None
    label_agreement: float
    invariance: float
    verdict: str
    failures: tuple[str, ...]
    worst: tuple[Disagreement, ...]

    @property
    def passed(self) -> bool:
        """Whether every gate held."""
        return not self.failures

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {**asdict(self), "passed": self.passed}


@dataclass(frozen=True, slots=True)
class Reference:
    """The texts that models are compared on, and the answers to compare with.

    Attributes:
        logits: float32 (texts, labels).
        exact: float64 (texts, labels), where they can be had.
        cloud_index: which logit speaks for `cloud`.
        pad_id: what fills up the batches of the invariance.
    """

    texts: Sequence[str]
    tokens: Tokens
    logits: NDArray[np.float32]
    exact: NDArray[np.float64] | None
    cloud_index: int
    pad_id: int = 0


def answers_alone(backend: Backend, tokens: Tokens) -> NDArray[np.float32]:
    """Logits of every text without any padding, (texts, labels): texts of equal length share a batch."""
    batches = list(plan_batches([len(sequence) for sequence in tokens], max_padding=0))[::-1]
    answers = Scheduler(backend.threads).map(
        lambda batch: backend.run(*pad([tokens[i] for i in batch], pad_id=0)), batches
    )
    order = np.argsort([index for batch in batches for index in batch])
    found: NDArray[np.float32] = np.concatenate(answers)[order]
    return found


def compare(variant: str, backend: Backend, reference: Reference, gate: Gate) -> Comparison:
    """Judge one variant.

    Raises:
        ParityError: logits of another shape, or not finite: there is nothing to compare.
    """
    tokens, cloud_index = reference.tokens, reference.cloud_index
    found = answers_alone(backend, tokens)
    if found.shape != reference.logits.shape:
        raise ParityError(f"{variant}: expected logits {reference.logits.shape}, found {found.shape}.")
    if not np.isfinite(found).all():
        raise ParityError(f"{variant}: {int((~np.isfinite(found)).sum())} logits are NaN or infinite.")
    p_found = cloud_probability(found, cloud_index, None)
    p_torch = cloud_probability(reference.logits, cloud_index, None)
    p_wanted = p_torch if reference.exact is None else cloud_probability(reference.exact, cloud_index, None)
    difference, own = np.abs(p_found - p_wanted), np.abs(p_torch - p_wanted)
    # Where float32 may err as PyTorch does, a text whose label that error decides has none to agree with.
    decided = np.abs(p_wanted - 0.5) > gate.times_torch * own.max()
    agreement = float(np.mean(((p_found >= 0.5) == (p_wanted >= 0.5)) | ~decided))
    moved = invariance(backend, tokens, cloud_index, reference.pad_id)
    margins = [logits[:, cloud_index] - logits[:, 1 - cloud_index] for logits in (found, reference.logits)]
    order = np.argsort(-difference)[:_WORST_SHOWN]
    return Comparison(
        variant=variant,
        texts=len(tokens),
        lengths=(min(map(len, tokens)), max(map(len, tokens))),
        max_p=float(difference.max()),
        torch_max_p=float(own.max()),
        mean_p=float(difference.mean()),
        max_logit=float(np.abs(found - reference.logits).max()),
        max_margin=float(np.abs(margins[0] - margins[1]).max()),
        relative_error=_relative_error(found, reference.exact),
        label_agreement=agreement,
        invariance=moved,
        verdict=in_words(float(difference.max())),
        failures=tuple(_failures(gate, difference, own, agreement, moved)),
        worst=tuple(
            Disagreement(reference.texts[i][:200], float(p_wanted[i]), float(p_found[i])) for i in order
        ),
    )


def invariance(backend: Backend, tokens: Tokens, cloud_index: int, pad_id: int = 0) -> float:
    """Largest change of p(cloud) when a text stands in a padded, shuffled batch instead of alone.

    The texts are spread over all lengths; each batch holds short and long ones, so every short one is
    padded and shares its batch with other texts.
    """
    by_length = sorted(range(len(tokens)), key=lambda index: len(tokens[index]))
    step = max(1, len(by_length) // _INVARIANCE_TEXTS)
    chosen = np.random.default_rng(0).permutation(by_length[::step]).tolist()
    worst = 0.0
    for start in range(0, len(chosen), 8):
        group = [tokens[index] for index in chosen[start : start + 8]]
        together = cloud_probability(backend.run(*pad(group, pad_id=pad_id)), cloud_index, None)
        for sequence, p_together in zip(group, together, strict=True):
            alone = cloud_probability(backend.run(*pad([sequence], pad_id=0)), cloud_index, None)
            worst = max(worst, abs(float(alone[0]) - float(p_together)))
    return worst


def in_words(difference: float) -> str:
    """The guide's word for a difference of probability."""
    if difference < EXCELLENT:
        return "excellent"
    if difference < ACCEPTABLE:
        return "acceptable"
    return "warning" if difference < WARNING else "different"


def sentence(summary: Mapping[str, Any]) -> str:
    """One line about a comparison, from its plain values (see `Comparison.to_dict`)."""
    verdict = "passed" if summary["passed"] else "NOT PUBLISHED"
    error = summary["relative_error"]
    return (
        f"{verdict}: p_cloud within {summary['max_p']:.1e} ({summary['verdict']}), "
        f"mean {summary['mean_p']:.1e}, labels agree {summary['label_agreement']:.2%}"
        f", batch and padding move it by {summary['invariance']:.1e}"
        + ("" if error is None else f", relative error to float64 {error:.1e}")
        + (f", PyTorch's own {own:.1e}" if (own := summary.get("torch_max_p", 0.0)) > EXCELLENT else "")
        + f" ({summary['texts']} texts)"
    )


def spread_lengths(sequences: Tokens, max_tokens: int) -> list[list[int]]:
    """Token sequences of every length 2..max_tokens, cut or joined from real ones; special tokens kept.

    Args:
        sequences: at least one, each with a first and a last special token.
    """
    first, last = sequences[0][0], sequences[0][-1]
    inside = [token for sequence in sequences for token in sequence[1:-1]] or [first]
    made = []
    for length in range(2, max_tokens + 1):
        start = (length * 37) % max(1, len(inside) - length)
        body = (inside[start:] + inside)[: length - 2]
        made.append([first, *body, last])
    return made


def require(comparisons: Mapping[str, Comparison]) -> None:
    """Raise ParityError naming every variant that did not hold its gate, and its worst text."""
    failed = [c for c in comparisons.values() if not c.passed]
    if failed:
        lines = [
            f"{c.variant}: {'; '.join(c.failures)}. Worst: {c.worst[0].text!r} "
            f"({c.worst[0].reference:.6f} became {c.worst[0].found:.6f})"
            for c in failed
        ]
        raise ParityError("no parity, no artifact. " + " | ".join(lines))


def _failures(
    gate: Gate,
    difference: NDArray[np.float64],
    own: NDArray[np.float64],
    agreement: float,
    moved: float,
) -> list[str]:
    failures = []
    for share, name in ((1.0, "differs by"), (0.99, "differs in 1 % of the texts by at least")):
        if gate.max_p is None:
            break
        found, allowed = float(np.quantile(difference, share)), gate.max_p
        allowed = max(allowed, gate.times_torch * float(np.quantile(own, share)))
        if found > allowed:
            failures.append(f"p(cloud) {name} {found:.2e} (at most {allowed:.0e})")
    if gate.mean_p is not None and difference.mean() > gate.mean_p:
        failures.append(f"p(cloud) differs by {difference.mean():.2e} on average (at most {gate.mean_p:.0e})")
    if agreement < gate.label_agreement:
        failures.append(f"{agreement:.2%} of labels agree (at least {gate.label_agreement:.1%})")
    if moved > gate.invariance:
        failures.append(
            f"batch mates and padding move p(cloud) by {moved:.2e} (at most {gate.invariance:.0e})"
        )
    return failures


def _relative_error(found: NDArray[np.float32], exact: NDArray[np.float64] | None) -> float | None:
    if exact is None:
        return None
    return float(np.linalg.norm(found - exact) / max(np.linalg.norm(exact), np.finfo(np.float64).tiny))
