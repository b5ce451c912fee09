"""A goal (a share of cloud calls, a quality, a budget) to a threshold, and the artifact that keeps it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointsman.artifact.manifest import Calibration
from pointsman.artifact.store import Artifact, rewrite_manifest
from pointsman.datasets.duplicates import SKETCH, row_sketch
from pointsman.datasets.outcomes import Dataset
from pointsman.errors import DataError
from pointsman.evaluation.calibration import threshold_for_budget, threshold_for_quality, threshold_for_share
from pointsman.evaluation.curve import Curve, cost_quality_curve
from pointsman.policy import Policy

CURVE = "curve"
"""Where in an artifact's provenance the curve stands."""

_STORED_POINTS = 21

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ThresholdGoal:
    """What an operator asks for: exactly one of the three.

    Attributes:
        share: of queries that go to the cloud, 0..1.
        quality: share of the strong model's lead that is recovered, 0..1.
        budget: mean price of a query, in the unit of the prices.
        price_local: of one query answered locally.
        price_cloud: of one query answered by the cloud.
        confidence_threshold: the rule that holds beside the threshold, 0..1; None switches it off.
    """

    share: float | None = None
    quality: float | None = None
    budget: float | None = None
    price_local: float = 0.0
    price_cloud: float = 1.0
    confidence_threshold: float | None = None

    def __post_init__(self) -> None:
        given = [name for name in ("share", "quality", "budget") if getattr(self, name) is not None]
        if len(given) != 1:
            raise DataError(f"a threshold needs one of share, quality, budget; found {given or 'none'}.")
        for name in ("share", "quality"):
            value = getattr(self, name)
            if value is not None and not 0.0 <= value <= 1.0:
                raise DataError(f"{name}: expected a number from 0 to 1, found {value}.")

    def asked(self) -> dict[str, float]:
        """What was asked for, by name."""
        kept = {"share": self.share, "quality": self.quality, "budget": self.budget}
        return {name: value for name, value in kept.items() if value is not None}


@dataclass(frozen=True, slots=True)
class ThresholdChoice:
    """A policy, and what it does on the queries it was chosen on.

    Attributes:
        policy: with the chosen `cloud_threshold`, as it is served.
        share: of these queries that go to the cloud, 0..1.
        quality: mean score of the answers; None without outcomes.
        record: the goal, the data and what came of it, as they are stored.
    """

    policy: Policy
    share: float
    quality: float | None
    record: Mapping[str, Any]

    @property
    def threshold(self) -> float:
        """The `cloud_threshold`."""
        return self.policy.cloud_threshold


def choose(
    goal: ThresholdGoal, score: Floats, data: Dataset | None, data_sha256: str, policy: Policy | None = None
) -> ThresholdChoice:
    """The threshold for a goal.

    Args:
        goal: what is asked for; a quality needs outcomes.
        score: of the queries, float64 (queries,): p_cloud, or what `served_scores` makes of it.
        data: their outcomes and weights; None without any.
        data_sha256: digest of the queries (and outcomes).
        policy: whose safe target stays; None is the default policy.

    Raises:
        DataError: no outcomes for a quality, or a goal that cannot be had.
    """
    weight, curve = _weight_and_curve(score, data)
    if goal.share is not None:
        threshold = threshold_for_share(score, goal.share, weight=weight)
    elif goal.budget is not None:
        threshold = threshold_for_budget(score, goal.budget, goal.price_local, goal.price_cloud, weight)
    elif curve is not None and goal.quality is not None:
        threshold = threshold_for_quality(curve, goal.quality)
    else:
        raise DataError("a threshold for a quality needs labels, or weak_score and strong_score.")
    policy = (policy or Policy()).overruled(
        cloud_threshold=threshold, confidence_threshold=goal.confidence_threshold
    )
    calls = score >= policy.effective_threshold
    share = float(np.average(calls, weights=weight))
    quality = None
    if data is not None and curve is not None:
        quality = float(np.average(np.where(calls, data.strong, data.weak), weights=weight))
    record = {
        "asked": goal.asked(),
        "queries": len(score),
        "data_sha256": data_sha256,
        "share": share,
        "quality": quality,
    }
    return ThresholdChoice(policy, share, quality, record)


def held_out_curve(
    score: Floats, data: Dataset | None, data_sha256: str, queries: Sequence[str] = ()
) -> dict[str, Any]:
    """What an artifact keeps of the queries that it was calibrated on: their number, digest and curve.

    The curve has a point near every twentieth: the share of queries that go to the cloud, the threshold that
    does so (hence also how p_cloud is distributed over them), and the quality where outcomes are known.
    Queries of equal score go together, so there may be fewer points.

    Args:
        score: as for `choose`.
        data: their outcomes; None without any.
        data_sha256: digest of the queries (and outcomes).
        queries: their texts, kept as a sketch of digests, so that `evaluate` knows them again.
    """
    weight, curve = _weight_and_curve(score, data)
    return {
        "queries": len(score),
        "data_sha256": data_sha256,
        "points": _points(score, curve, weight),
        SKETCH: row_sketch(queries),
    }


def _weight_and_curve(score: Floats, data: Dataset | None) -> tuple[Floats | None, Curve | None]:
    if data is None or not data.has_outcomes:
        return (None if data is None else data.weight), None
    return data.weight, cost_quality_curve(score, data.weak, data.strong, data.weight)


def store(
    artifact: Artifact,
    output: Path,
    calibration: Calibration | None,
    choice: ThresholdChoice | None,
    curve: Mapping[str, Any],
) -> Artifact:
    """A new artifact with this calibration, threshold and curve; what is None stays as it was.

    Raises:
        OutputExistsError: `output` is taken.
        IntegrityError: the artifact is not what its manifest says.
    """
    manifest = artifact.manifest
    manifest = replace(manifest, provenance={**manifest.provenance, CURVE: dict(curve)})
    if calibration is not None:
        manifest = replace(manifest, calibration=calibration)
    if choice is not None:
        manifest = replace(
            manifest,
            policy=choice.policy,
            provenance={**manifest.provenance, "cloud_threshold": dict(choice.record)},
        )
    return rewrite_manifest(artifact, output, manifest)


def _points(score: Floats, curve: Curve | None, weight: Floats | None) -> list[dict[str, float]]:
    wanted = np.linspace(0.0, 1.0, _STORED_POINTS)
    points = []
    found = (threshold_for_share(score, float(share), weight=weight) for share in wanted)
    for threshold in dict.fromkeys(found):
        share = float(np.average(score >= threshold, weights=weight))
        point = {"share": share, "threshold": threshold}
        if curve is not None:
            point["quality"] = curve.quality_at(share)
        points.append(point)
    return points
