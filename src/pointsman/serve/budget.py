"""The budget of the running period: what is spent of it, and the threshold that it leads to now."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from pointsman.pacing import Hour, Period, approached, paced_threshold
from pointsman.serve.observability.history import History
from pointsman.serve.traffic_settings import BudgetSettings


class Budget:
    """Spends an amount of money in a period.

    Processes that share a history's file pace what is left together; without a file each has its part.

    Args:
        settings: with an amount.
        history: where costs and scores are counted.
        processes: that answer from one port.
        served: the threshold of the loaded artifact and the settings, 0..1.
        clock: seconds since the epoch.

    Attributes:
        threshold: a p_cloud of at least this goes to the cloud, 0..1; None before the first update.
    """

    def __init__(
        self,
        settings: BudgetSettings,
        history: History,
        processes: int,
        served: Callable[[], float],
        clock: Callable[[], float] = time.time,
    ) -> None:
        assert settings.amount is not None
        self.amount = settings.amount / (1 if history.path is not None else processes)
        self._settings = settings
        self._history = history
        self._served = served
        self._clock = clock
        self._sharing = processes if history.path is not None else 1
        self._updated_s = clock()
        self.threshold: float | None = None

    @property
    def spent(self) -> float:
        """Money of this period so far."""
        return self._history.since(self._begin_s, "spent")

    @property
    def is_used_up(self) -> bool:
        """Whether nothing is left here; what no one asked the cloud for goes to the local model then."""
        return self._history.left(self.amount, self._begin_s, "spent", self._sharing) <= 0.0

    @property
    def _begin_s(self) -> float:
        return period_of(self._clock(), self._settings.period)[0]

    def facts(self) -> dict[str, float | str | None]:
        """How it stands, as plain values; `ends` in seconds since the epoch."""
        period = self._settings.period
        facts = {"amount": self.amount, "spent": self.spent, "threshold": self.threshold}
        return {**facts, "period": period, "ends": period_of(self._clock(), period)[1]}

    def update(self) -> None:
        """Move the threshold; called every few seconds, after the history is stored."""
        now = self._clock()
        start, end = period_of(now, self._settings.period)
        period = Period(start, end, self.amount, self.spent)
        known = {
            at: Hour(one["routed"], one["paced_calls"], one["paced_cost"], one["spent"] - one["paced_cost"])
            for at, one in self._history.hours.items()
        }
        wanted = paced_threshold(now, period, known, self._history.scores, self._served())
        current = self._last() if self.threshold is None else self.threshold
        # A clock that was set back says nothing of the time that has passed.
        moved = approached(current, wanted, max(0.0, now - self._updated_s), now, period)
        self.threshold = max(self._settings.lowest_threshold, moved)
        self._updated_s = now
        self._history.note_threshold(self.threshold)

    def _last(self) -> float:
        """The threshold before a restart, or the served one."""
        noted = [hour["threshold"] for _, hour in sorted(self._history.hours.items())]
        return next((one for one in reversed(noted) if one is not None), self._served())


def period_of(now_s: float, kind: str) -> tuple[float, float]:
    """Begin and end of the day, week or month in UTC that holds a moment; all in seconds since the epoch."""
    start = datetime.fromtimestamp(now_s, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if kind == "day":
        end = start + timedelta(days=1)
    elif kind == "week":
        start -= timedelta(days=start.weekday())
        end = start + timedelta(days=7)
    else:
        start = start.replace(day=1)
        end = (start + timedelta(days=32)).replace(day=1)
    return start.timestamp(), end.timestamp()
