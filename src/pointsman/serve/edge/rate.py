"""A limit per client: a token bucket each, bounded in number."""

import time
from collections import OrderedDict

from pointsman.serve.failures import GatewayError

_MAX_CLIENTS = 10_000


class RateLimit:
    """Lets each client ask `rate` times a second, with `burst` requests saved up; 0 lets all through."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def check(self, client: str) -> None:
        """Count a request.

        Raises:
            GatewayError: `rate_limited`, with the seconds until the next one is welcome.
        """
        if not self._rate:
            return
        now = time.monotonic()
        tokens, then = self._buckets.pop(client, (self._burst, now))
        tokens = min(self._burst, tokens + (now - then) * self._rate)
        allowed = tokens >= 1.0
        self._buckets[client] = (tokens - 1.0 if allowed else tokens, now)
        if len(self._buckets) > _MAX_CLIENTS:
            self._buckets.popitem(last=False)
        if not allowed:
            raise GatewayError(
                "rate_limited",
                "too many requests from this client",
                retry_after_s=(1.0 - tokens) / self._rate,
            )
