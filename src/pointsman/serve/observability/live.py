"""The last two minutes, for the page's live view: counts a second, latencies, recent decisions.

Bounded memory; the text of a decision is kept only where the operator allows it. Several processes' records
are one view.
"""

import time
from collections import deque
from collections.abc import Sequence
from itertools import chain
from typing import Any

from pointsman.decision import Decision
from pointsman.serve.observability.history import History

SECONDS = 120
_RECENT = 50
_LATENCIES = 2000
_TEXT_CHARS = 80


class Live:
    """What happened lately.

    Args:
        history: where hours are counted.
        show_text: keep the beginning of a decision's text.
    """

    def __init__(self, history: History, *, show_text: bool) -> None:
        self.history = history
        self._show_text = show_text
        self._seconds: deque[list[int]] = deque(maxlen=SECONDS)
        self._latencies: deque[float] = deque(maxlen=_LATENCIES)
        self._recent: deque[dict[str, Any]] = deque(maxlen=_RECENT)
        self.requests = 0
        self.errors = 0
        self.fallbacks = 0
        self.targets = {"local": 0, "cloud": 0}
        self.saved = 0.0

    def request(self, elapsed_s: float, *, is_error: bool) -> None:
        """Count a finished request."""
        self.history.count(requests=1, errors=is_error)
        self.requests += 1
        self.errors += is_error
        self._latencies.append(elapsed_s)
        self._now()[1] += 1

    def decision(
        self, kind: str, target: str, reason: str, decision: Decision | None, text: str | None
    ) -> None:
        """Count a decision, with what the model said where it was asked."""
        self.history.count(**{target: 1})
        self.targets[target] += 1
        second = self._now()
        second[2 if target == "local" else 3] += 1
        entry: dict[str, Any] = {
            "time": round(time.time(), 3),
            "target": target,
            "reason": reason,
            "p_cloud": None if decision is None else round(decision.p_cloud, 4),
            "tokens": None if decision is None else decision.tokens,
            "kind": kind,
        }
        if self._show_text and text is not None:
            entry["text"] = text if len(text) <= _TEXT_CHARS else f"{text[: _TEXT_CHARS - 1]}…"
        self._recent.append(entry)

    def record(self) -> dict[str, Any]:
        """Everything, ready for JSON and for `view`; latencies in milliseconds."""
        return {
            "requests": self.requests,
            "errors": self.errors,
            "fallbacks": self.fallbacks,
            "targets": dict(self.targets),
            "saved": self.saved,
            "latencies_ms": [round(1000 * elapsed_s, 3) for elapsed_s in self._latencies],
            "seconds": list(self._seconds),
            "recent": list(self._recent),
        }

    def _now(self) -> list[int]:
        second = int(time.time())
        if not self._seconds or self._seconds[-1][0] != second:
            self._seconds.append([second, 0, 0, 0])
        return self._seconds[-1]


def view(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the page shows of several processes: sums, the quantiles of all latencies, the newest first."""
    latencies = sorted(chain.from_iterable(record["latencies_ms"] for record in records))
    seconds: dict[int, list[int]] = {}
    for at, *counts in chain.from_iterable(record["seconds"] for record in records):
        known = seconds.setdefault(at, [0, 0, 0])
        seconds[at] = [a + b for a, b in zip(known, counts, strict=True)]
    recent = sorted(chain.from_iterable(record["recent"] for record in records), key=lambda one: one["time"])
    return {
        **{
            name: sum(record[name] for record in records)
            for name in ("requests", "errors", "fallbacks", "saved")
        },
        "targets": {name: sum(record["targets"][name] for record in records) for name in ("local", "cloud")},
        "latency_ms": {f"p{q}": _quantile(latencies, q / 100) for q in (50, 95, 99)},
        "seconds": [
            {"at": at, "requests": n, "local": local, "cloud": cloud}
            for at, (n, local, cloud) in sorted(seconds.items())[-SECONDS:]
        ],
        "recent": recent[: -_RECENT - 1 : -1],
    }


def _quantile(ordered: list[float], share: float) -> float | None:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None
