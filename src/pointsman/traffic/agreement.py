"""How far a judge and a person agree on whether the cloud is needed: Cohen's kappa, both kinds of error."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pointsman.errors import DataError
from pointsman.evaluation.bootstrap import Bootstrap, Rows
from pointsman.traffic.judged import SCORES
from pointsman.traffic.work import Work

GATE = 0.4
"""Below this kappa (Landis and Koch 1977: fair, or worse) `fit` refuses unless told."""
FEWEST_LABELS = 20

_Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Judge and person on the same rows; every share 0..1, NaN where it is not defined.

    Attributes:
        rows: how many both have decided.
        kappa: Cohen's; 1 for equal verdicts, 0 for what chance gives.
        low: 2.5 % of the bootstrap lies under it.
        high: 2.5 % lies over it.
        false_cloud: share of the rows that need no cloud (says the person) where the judge says it is needed.
        missed_cloud: share of the rows that need the cloud where the judge says that local is enough.
    """

    rows: int
    kappa: float
    low: float
    high: float
    false_cloud: float
    missed_cloud: float

    def require(self) -> None:
        """Refuse verdicts that a person does not share.

        Raises:
            DataError: enough rows say that kappa is under the gate.
        """
        if self.rows >= FEWEST_LABELS and not self.kappa >= GATE:
            raise DataError(
                f"judge and person agree too little: kappa {self.kappa:.2f} on {self.rows} rows, expected at "
                f"least {GATE}. Change the rubric or the judge, label the rows yourself, or say "
                "--accept-agreement."
            )

    @property
    def sentence(self) -> str:
        """One line for a reader."""
        return (
            f"judge and person agree on {self.rows:,} rows with kappa {self.kappa:.2f} "
            f"[{self.low:.2f}, {self.high:.2f}]; the judge asks for the cloud without need in "
            f"{self.false_cloud:.0%} of the rows that need none, and misses {self.missed_cloud:.0%} of those "
            "that need it"
        )


def agreement(work: Work) -> Agreement | None:
    """Agreement on the rows that both have decided; None where there are none."""
    judged, labels = work.judgements(), work.verdicts()
    both = [query for query, verdict in labels.items() if query in judged and verdict in SCORES]
    if not both:
        return None
    judge = np.array([judged[query][1] > judged[query][0] for query in both])
    person = np.array([SCORES[labels[query]][1] > SCORES[labels[query]][0] for query in both])
    return measured(judge, person)


def measured(judge: _Bools, person: _Bools) -> Agreement:
    """Agreement of two verdicts on whether the cloud is needed, bool (rows,) each."""

    def figures(drawn: Rows) -> dict[str, float]:
        return {"kappa": _kappa(judge[drawn], person[drawn])}

    kappa = Bootstrap().intervals(figures, len(judge))["kappa"]
    return Agreement(
        len(judge),
        kappa.value,
        kappa.low,
        kappa.high,
        float(judge[~person].mean()) if (~person).any() else float("nan"),
        float((~judge[person]).mean()) if person.any() else float("nan"),
    )


def _kappa(judge: _Bools, person: _Bools) -> float:
    observed = float((judge == person).mean())
    p, q = float(judge.mean()), float(person.mean())
    chance = p * q + (1.0 - p) * (1.0 - q)
    return (observed - chance) / (1.0 - chance) if chance < 1.0 else float("nan")
