"""When not to call an upstream: a breaker, its own wish (Retry-After), the budget of retries and hedges.

Pure bookkeeping over a clock; it refuses to know HTTP.
"""

import time
from collections.abc import Callable


class Breaker:
    """Opens after `failures` failures in a row; then lets one probe through every `open_s` seconds.

    Args:
        failures: in a row, at least 1.
        open_s: between two probes, seconds.
    """

    def __init__(self, failures: int, open_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = failures
        self._open_s = open_s
        self._clock = clock
        self._failures = 0
        self._next_probe: float | None = None
        self._not_before = 0.0

    @property
    def is_open(self) -> bool:
        """Whether only probes are let through."""
        return self._next_probe is not None

    def wait_s(self) -> float:
        """Seconds until a call would be let through; 0 when one is welcome now."""
        now = self._clock()
        return max(0.0, self._not_before - now, (self._next_probe or 0.0) - now)

    def allow(self) -> bool:
        """Whether a call may go out now; while open, saying yes uses up the interval's probe."""
        if self.wait_s() > 0.0:
            return False
        if self._next_probe is not None:
            self._next_probe = self._clock() + self._open_s
        return True

    def success(self) -> None:
        """The upstream answered, even if with a 4xx."""
        self._failures = 0
        self._next_probe = None

    def failure(self) -> None:
        """The upstream did not answer, or with a 5xx."""
        self._failures += 1
        if self._failures >= self._limit:
            self._next_probe = self._clock() + self._open_s

    def hold(self, seconds: float) -> None:
        """The upstream asked not to be called for so long."""
        self._not_before = max(self._not_before, self._clock() + seconds)


class RetryBudget:
    """Retries, and the hedges that are sent because this upstream is slow, may be a share of its requests.

    Args:
        share: retries per request, 0..1.
        floor: retries that are there at the start, and at most saved up beyond a share of 100 requests.
    """

    def __init__(self, share: float = 0.1, floor: int = 3) -> None:
        self._share = share
        self._balance = float(floor)
        self._most = floor + 100 * share

    def request(self) -> None:
        """Count a request."""
        self._balance = min(self._most, self._balance + self._share)

    def spend(self) -> bool:
        """Whether one more retry or hedge is in the budget; if so it is spent."""
        if self._balance < 1.0:
            return False
        self._balance -= 1.0
        return True
