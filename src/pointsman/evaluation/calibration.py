"""From held-out margins to honest probabilities, and from a wish to a threshold."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pointsman.artifact.manifest import Calibration
from pointsman.errors import DataError
from pointsman.evaluation.curve import Curve

_STEPS = 100
_SMALLEST_STEP = 1e-9
_SMALLEST_SLOPE = 1e-3
_RIDGE = 1e-6
_ROUNDING = 1e-9
"""Of a share times a number of rows."""

Method = Literal["temperature", "platt"]

_Floats = NDArray[np.float64]


def cloud_margin(logits: NDArray[np.float32], cloud_index: int) -> _Floats:
    """Logit of cloud less logit of local, float64 (rows,), from logits, float32 (rows, 2)."""
    return logits[:, cloud_index].astype(np.float64) - logits[:, 1 - cloud_index]


def fit_calibration(
    margin: _Floats, target: _Floats, method: Method, data_sha256: str, weight: _Floats | None = None
) -> Calibration:
    """Fit `p_cloud = sigmoid(a * margin + b)` by maximum likelihood, with Newton's method.

    `temperature` keeps b = 0 (Guo et al. 2017, a = 1/T); `platt` fits both. The targets are Platt's (1999),
    (n + 1) / (n + 2) for the n rows of cloud, 1 / (n + 2) for those of local, by weight: few rows that
    happen to be told apart without an error do not make the router sure of everything.

    Args:
        margin: logit of cloud less logit of local, float64 (rows,).
        target: whether the row was cloud, 0..1, float64 (rows,).
        data_sha256: digest of the data, kept with the result.
        weight: of each row, at least 0, float64 (rows,); None counts all alike.

    Raises:
        DataError: no rows, only one class, or margins that point the wrong way.
    """
    if not len(margin) or target.min() == target.max():
        raise DataError("calibration needs rows of both labels, local and cloud.")
    weight = np.ones_like(margin) if weight is None else weight
    positives, negatives = float(weight @ target), float(weight @ (1.0 - target))
    high, low = (positives + 1.0) / (positives + 2.0), 1.0 / (negatives + 2.0)
    target = low + (high - low) * target
    columns = [margin] if method == "temperature" else [margin, np.ones_like(margin)]
    beta = _logistic(np.stack(columns, axis=1), target, weight)
    if beta[0] < _SMALLEST_SLOPE:
        raise DataError(
            f"the router's margins do not point towards the labels (slope {beta[0]:.4f}): "
            "are local and cloud swapped in the data?"
        )
    offset = float(beta[1]) if method == "platt" else 0.0
    return Calibration(method, float(beta[0]), offset, data_sha256, len(margin))


def _logistic(x: _Floats, target: _Floats, weight: _Floats) -> _Floats:
    """Coefficients (columns,) of a logistic regression of targets (rows,) on x (rows, columns)."""
    beta = np.zeros(x.shape[1])
    beta[0] = 1.0 / max(1.0, float(np.std(x[:, 0])))
    for _ in range(_STEPS):
        p = 0.5 * (1.0 + np.tanh(0.5 * (x @ beta)))
        gradient = x.T @ (weight * (p - target)) + _RIDGE * beta
        hessian = (x.T * (weight * p * (1.0 - p))) @ x + _RIDGE * np.eye(x.shape[1])
        step = np.linalg.solve(hessian, gradient)
        # Newton may overshoot far from the optimum; a step of at most 1 in each direction does not.
        step /= max(1.0, float(np.abs(step).max()))
        beta -= step
        if float(np.abs(step).max()) < _SMALLEST_STEP:
            break
    return beta


def threshold_for_share(
    score: _Floats, share: float, *, at_most: bool = False, weight: _Floats | None = None
) -> float:
    """The threshold that sends the share nearest to this (0..1) of such queries to the cloud.

    Args:
        score: p_cloud of queries like those to come, float64 (rows,); inf, -inf: moved by no threshold.
        at_most: never more than that, as far as a threshold can.
        weight: how many queries each row stands for, float64 (rows,); None counts all alike.

    Raises:
        DataError: no queries.
    """
    if not len(score):
        raise DataError("a threshold for a share needs at least one query.")
    values, place = np.unique(score, return_inverse=True)
    counts = np.bincount(place, weights=weight)
    # Queries of one score are called together: these are the numbers of calls that a threshold can make.
    calls = np.append(0, counts[::-1].cumsum())
    wanted = share * calls[-1]
    if at_most:
        at = int(np.flatnonzero(calls <= wanted + _ROUNDING)[-1])
    else:
        at = int(np.abs(calls - wanted).argmin())
    ranked = np.concatenate(([np.inf], values[::-1], [-np.inf]))
    return _between(ranked[at], ranked[at + 1])


def _between(called: float, left: float) -> float:
    """A threshold half way between a score that is called and the next one that is not.

    So the last digit of a probability changes no decision. Without the one it is 1, without the other 0.
    """
    if called == np.inf or left == -np.inf:
        return 1.0 if called == np.inf else 0.0
    middle = (called + left) / 2.0
    return float(middle if middle > left else called)


def threshold_for_quality(curve: Curve, recovered: float) -> float:
    """The highest `cloud_threshold` that recovers this share (0..1) of the strong model's lead.

    Raises:
        DataError: the models are equally good on this data.
    """
    pgr = curve.recovered
    if np.isnan(pgr).any():
        raise DataError("weak and strong model are equally good on this data: any threshold gives the same.")
    reached = np.flatnonzero(pgr >= recovered)
    at = int(reached[0]) if len(reached) else len(pgr) - 1
    return _between(curve.threshold[at], curve.threshold[at + 1] if at + 1 < len(pgr) else -np.inf)


def threshold_for_budget(
    score: _Floats, budget: float, local_price: float, cloud_price: float, weight: _Floats | None = None
) -> float:
    """The lowest `cloud_threshold` whose mean price of a query stays within the budget.

    Args:
        score: as for `threshold_for_share`.
        budget: mean price of a query, in the unit of the prices.
        local_price: of one query answered locally.
        cloud_price: of one query answered by the cloud, above `local_price`.
        weight: as for `threshold_for_share`.

    Raises:
        DataError: the budget is under the local price, or the prices are not apart.
    """
    if not cloud_price > local_price >= 0.0:
        raise DataError(f"prices: expected 0 <= local < cloud, found {local_price} and {cloud_price}.")
    share = (budget - local_price) / (cloud_price - local_price)
    if share < 0.0:
        raise DataError(f"a budget of {budget} does not pay for the local model alone ({local_price}).")
    return threshold_for_share(score, min(share, 1.0), at_most=True, weight=weight)
