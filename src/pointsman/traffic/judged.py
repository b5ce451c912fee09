"""The rows of a work folder that have scores: what `train`, `calibrate`, `evaluate` and `fit` read."""

from collections.abc import Iterator
from typing import Any

from pointsman.artifact.atomic import atomic_write
from pointsman.traffic.work import CLOUD_ROLE, LOCAL_ROLE, Answer, Work, as_json

ROWS = "judged.jsonl"

SCORES = {"local": (1.0, 0.0), "cloud": (0.0, 1.0), "tie": (1.0, 1.0)}
"""Weak and strong score of a verdict: 1 for an answer that is at least as good as the other one."""


def judged_rows(work: Work) -> Iterator[dict[str, Any]]:
    """The rows that have scores, in the order of the log, as plain values."""
    local, cloud = work.answers(LOCAL_ROLE), work.answers(CLOUD_ROLE)
    judged, labels = work.judgements(), work.verdicts()
    for query in work.queries(sampled=True):
        verdict = labels.get(query.id, "")
        if verdict in SCORES:
            weak, strong = SCORES[verdict]
            detail: dict[str, Any] = {"by": "person"}
        elif query.id in judged:
            weak, strong, detail = judged[query.id]
        else:
            continue
        row = {
            "query": query.text,
            "weak_score": weak,
            "strong_score": strong,
            "weight": query.weight,
            "columns": query.columns,
            "judgement": detail,
        }
        for role, answers in (("local", local.get(query.id)), ("cloud", cloud.get(query.id))):
            row[role] = {} if not answers else _means(answers)
        yield row


def _means(answers: list[Answer]) -> dict[str, float | None]:
    """Tokens, cost and seconds of one answer: the mean over the samples."""
    costs = [a.cost for a in answers if a.cost is not None]
    return {
        "tokens_in": sum(a.tokens_in for a in answers) / len(answers),
        "tokens_out": sum(a.tokens_out for a in answers) / len(answers),
        "seconds": sum(a.seconds for a in answers) / len(answers),
        "cost": sum(costs) / len(costs) if costs else None,
    }


def write_rows(work: Work) -> int:
    """Write `judged.jsonl` into the folder; returns the number of rows.

    A person's verdict stands before the judge's.
    """
    rows = list(judged_rows(work))
    with atomic_write(work.directory / ROWS, work.directory / f"{ROWS}.partial") as stream:
        for row in rows:
            stream.write(as_json(row).encode("utf-8", "replace") + b"\n")
    return len(rows)
