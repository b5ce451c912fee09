"""When not to call an upstream: a breaker, its own wish (Retry-After), the budget of retries and hedges.

Pure bookkeeping over a clock, without HTTP.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

_MAX_CLIENTS = 10_000
_RETRY_SHARE = 0.1
"""Retries and hedges per request."""


@dataclass(slots=True)
class _Circuit:
    """Failures in a row, and until when no call is welcome."""

    failures: int = 0
    certain: int = 0
    clients: set[str] = field(default_factory=set)
    next_probe: float | None = None
    not_before: float = 0.0

    def close(self) -> None:
        self.failures = self.certain = 0
        self.clients.clear()
        self.next_probe = None

    def wait_s(self, now: float) -> float:
        return max(0.0, self.not_before - now, (self.next_probe or 0.0) - now)


class Breaker:
    """Opens after `failures` failures in a row; then lets one probe through every `open_s` seconds.

    What one client asks may itself be why an upstream fails, so that a client alone opens the circuit only
    for itself. For all of them it opens when a second client failed in the same row, or when the failures
    say that nothing was asked yet.

    Args:
        failures: in a row, at least 1.
        open_s: between two probes, seconds.
    """

    def __init__(self, failures: int, open_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = failures
        self._open_s = open_s
        self._clock = clock
        self._all = _Circuit()
        self._own: OrderedDict[str, _Circuit] = OrderedDict()

    @property
    def is_open(self) -> bool:
        """Whether only probes are let through, for every client."""
        return self._all.next_probe is not None

    def wait_s(self, client: str = "") -> float:
        """Seconds until a call would be let through; 0 when one is welcome now."""
        now = self._clock()
        return max(circuit.wait_s(now) for circuit in self._circuits(client))

    def is_held(self, client: str = "") -> bool:
        """Whether the upstream asked this client not to call now."""
        return any(circuit.not_before > self._clock() for circuit in self._circuits(client))

    def allow(self, client: str = "") -> bool:
        """Whether a call may go out now; while open, saying yes uses up the interval's probe."""
        if self.wait_s(client) > 0.0:
            return False
        for circuit in self._circuits(client):
            if circuit.next_probe is not None:
                circuit.next_probe = self._clock() + self._open_s
        return True

    def success(self, client: str = "") -> None:
        """The upstream answered, even if with an error that is the client's own."""
        for circuit in self._circuits(client):
            circuit.close()

    def failure(self, client: str = "", *, is_certain: bool = False) -> None:
        """The upstream did not answer, or with a failure that says that it is down.

        Args:
            is_certain: nothing was asked yet, so that it cannot be the client's doing.
        """
        for circuit in self._circuits(client, makes=True):
            circuit.failures += 1
            circuit.certain += is_certain
            circuit.clients.add(client)
            is_shared = circuit is not self._all or not client or len(circuit.clients) > 1
            if circuit.failures >= self._limit and (is_shared or circuit.certain >= self._limit):
                circuit.next_probe = self._clock() + self._open_s

    def hold(self, seconds: float, client: str = "") -> None:
        """The upstream asked for a pause in seconds, by one client or by all."""
        circuit = self._circuits(client, makes=True)[-1]
        circuit.not_before = max(circuit.not_before, self._clock() + seconds)

    def _circuits(self, client: str, *, makes: bool = False) -> list[_Circuit]:
        """That of all, and the client's own where it has one."""
        if makes and client and client not in self._own:
            self._own[client] = _Circuit()
            if len(self._own) > _MAX_CLIENTS:
                self._own.popitem(last=False)
        own = self._own.get(client)
        return [self._all] if own is None else [self._all, own]


class RetryBudget:
    """Retries, and the hedges that are sent because this upstream is slow, may be a share of its requests.

    Args:
        floor: retries that are there at the start, and at most saved up beyond those of 100 requests.
    """

    def __init__(self, floor: int = 3) -> None:
        self._balance = float(floor)
        self._most = floor + 100 * _RETRY_SHARE

    def request(self) -> None:
        """Count a request."""
        self._balance = min(self._most, self._balance + _RETRY_SHARE)

    def spend(self) -> bool:
        """Whether one more retry or hedge is in the budget; if so it is spent."""
        if self._balance < 1.0:
            return False
        self._balance -= 1.0
        return True
