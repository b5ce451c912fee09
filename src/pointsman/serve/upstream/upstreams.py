"""The two upstreams: how to call one, and every way in which a call can fail before its first byte.

Only headers from a list go out. It refuses to know how a target was chosen, and how long anybody waits.
"""

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import httpx

from pointsman import __version__
from pointsman.errors import SettingsError
from pointsman.serve.observability.metrics import Metrics
from pointsman.serve.settings import GatewaySettings, UpstreamSettings
from pointsman.serve.upstream.breaker import Breaker, RetryBudget
from pointsman.serve.upstream.connection import MalformedError
from pointsman.serve.upstream.transport import HttpTransport, NotConnectedError, Response, Transport

FORWARDED = (b"accept", b"traceparent", b"tracestate", b"openai-beta", b"x-request-id")
"""Request headers that go on to an upstream; all others stay here, the client's key above all."""

RETURNED = ("retry-after", "openai-processing-ms", "openai-model", "openai-version", "apim-request-id")
"""Answer headers that come back, with all of `x-ratelimit-*`; nothing else does."""

_MAX_HEADER_BYTES = 512
_DEFAULT_HOLD_S = 1.0
_MAX_HOLD_S = 300.0


class CallFailedError(Exception):
    """A call that brought no usable answer.

    Attributes:
        cause: `unreachable`, `reset`, `timeout`, `invalid`, `status`, `rate_limited` or `open` (the breaker).
        retry_after_s: when to come back.
    """

    def __init__(self, cause: str, retry_after_s: float = 1.0) -> None:
        super().__init__(cause)
        self.cause = cause
        self.retry_after_s = retry_after_s


@dataclass(slots=True)
class UpstreamResponse:
    """An answer whose head is there and whose body is still to come.

    Attributes:
        kind: the content type, without parameters, in small letters.
    """

    upstream: "Upstream"
    response: Response
    kind: str

    @property
    def is_stream(self) -> bool:
        """Whether the body is a stream of events."""
        return self.kind == "text/event-stream"

    def record_broken(self, cause: str) -> CallFailedError:
        """Count a body that broke off against the upstream; returns the error that says why."""
        self.upstream.breaker.failure()
        self.upstream.count("broken")
        return CallFailedError(cause)


class Upstream:
    """One configured service.

    Args:
        transport: sends the requests to its address.
    """

    def __init__(self, name: str, settings: UpstreamSettings, metrics: Metrics, transport: Transport) -> None:
        self.name = name
        self.settings = settings
        self.breaker = Breaker(settings.breaker_failures, settings.breaker_open_s)
        self.budget = RetryBudget()
        self._metrics = metrics
        self._headers = _own_headers(settings, read_key(settings, name))
        self._transport = transport
        self._targets: dict[str, bytes] = {}

    async def call(self, path: str, body: bytes, headers: Mapping[bytes, bytes]) -> UpstreamResponse:
        """Send a request and wait for the head of a usable answer, trying again where that is safe.

        Args:
            path: after the base address, for example `/chat/completions`.
            body: JSON.
            headers: of the client; only those in `FORWARDED` go on.

        Raises:
            CallFailedError: no answer, or 429, 5xx, 3xx; every other status is an answer.
        """
        self.budget.request()
        for attempt in range(self.settings.retries + 1):
            if not self.breaker.allow():
                raise CallFailedError("open", self.breaker.wait_s())
            try:
                return await self._once(path, body, headers)
            except CallFailedError as failed:
                # Only a connection that never stood is tried again: nothing can have been done twice.
                is_last = attempt == self.settings.retries or failed.cause != "unreachable"
                if is_last or not self.budget.spend():
                    raise
        raise CallFailedError("unreachable")

    def failed(self, cause: str, retry_after_s: float | None = None) -> CallFailedError:
        """Count a call without an answer against the upstream; returns the error that says why."""
        self.count(cause)
        if cause == "rate_limited":
            # It is alive: the breaker stays closed, but its wish is kept.
            self.breaker.success()
            self.breaker.hold(retry_after_s or _DEFAULT_HOLD_S)
        else:
            self.breaker.failure()
            if retry_after_s:
                self.breaker.hold(retry_after_s)
        return CallFailedError(cause, retry_after_s or 1.0)

    def count(self, outcome: str) -> None:
        """Count what became of a call."""
        self._metrics.upstream.labels(self.name, outcome).inc()

    def close(self) -> None:
        """Close every connection that nobody uses."""
        self._transport.close()

    async def _once(self, path: str, body: bytes, headers: Mapping[bytes, bytes]) -> UpstreamResponse:
        started = time.monotonic()
        sent = [(name, value) for name in FORWARDED if _is_harmless(value := headers.get(name, b""))]
        sent += self._headers
        try:
            response = await self._transport.post(
                self._target(path), sent, body, self.settings.connect_timeout_s
            )
        except NotConnectedError:
            raise self.failed("unreachable") from None
        except MalformedError:
            raise self.failed("invalid") from None
        except OSError:
            raise self.failed("reset") from None
        self._metrics.phase_s.labels("upstream_head", self.name).observe(time.monotonic() - started)
        return self._judged(response)

    def _judged(self, response: Response) -> UpstreamResponse:
        headers, status = response.headers, response.status
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        cause = None
        if status == 429:
            cause = "rate_limited"
        elif status >= 500:
            cause = "status"
        elif status < 200 or 300 <= status < 400:
            cause = "invalid"
        elif headers.get("content-encoding", "identity").lower() != "identity":
            cause = "invalid"  # It was asked not to; what it hides may be any size.
        elif status < 300 and kind not in ("application/json", "text/event-stream"):
            cause = "invalid"
        if cause is not None:
            response.close()
            raise self.failed(cause, _retry_after(headers.get("retry-after")))
        self.breaker.success()
        self.count("answered" if status < 400 else "refused")
        return UpstreamResponse(self, response, kind)

    def _target(self, path: str) -> bytes:
        """The path and query of a request, as they stand in it."""
        if path not in self._targets:
            url = self.settings.url + path
            if self.settings.api == "azure":
                query = f"?api-version={self.settings.api_version}"
                url = f"{self.settings.url}/openai/deployments/{self.settings.model}{path}{query}"
            self._targets[path] = httpx.URL(url).raw_path
        return self._targets[path]


class Upstreams:
    """Both, by target.

    Args:
        open_transport: makes the transport of an upstream from its address.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        metrics: Metrics,
        open_transport: Callable[[str], Transport] = HttpTransport,
    ) -> None:
        self._by_target = {
            name: Upstream(name, found, metrics, open_transport(found.url))
            for name in ("local", "cloud")
            if (found := getattr(settings.upstreams, name)) is not None
        }

    def get(self, target: str) -> Upstream | None:
        """The upstream of a target, or None where none is configured."""
        return self._by_target.get(target)

    def __bool__(self) -> bool:
        return bool(self._by_target)

    def names(self) -> list[str]:
        """The targets that have one."""
        return list(self._by_target)

    def close(self) -> None:
        """Close both."""
        for upstream in self._by_target.values():
            upstream.close()


def read_key(settings: UpstreamSettings, name: str) -> str | None:
    """An upstream's key, from wherever it stands.

    Raises:
        SettingsError: named, but not there.
    """
    where = f"upstreams.{name}"
    if settings.api_key_env is not None:
        key = os.environ.get(settings.api_key_env, "").strip()
        if not key:
            raise SettingsError(f"{where}.api_key_env: the variable {settings.api_key_env} is not set.")
        return _one_line(key, f"{where}.api_key_env")
    if settings.api_key_file is not None:
        try:
            key = settings.api_key_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise SettingsError(f"{where}.api_key_file: {settings.api_key_file} cannot be read.") from None
        return _one_line(key, f"{where}.api_key_file")
    if settings.api_key is not None:
        return _one_line(settings.api_key.get_secret_value(), f"{where}.api_key")
    return None


def _is_harmless(value: bytes) -> bool:
    """Whether a client's header value can stand in a request; a strange one must not count as our failure."""
    return 0 < len(value) <= _MAX_HEADER_BYTES and value.isascii() and value.decode("ascii").isprintable()


def _one_line(key: str, where: str) -> str:
    if not key or not key.isascii() or not key.isprintable():
        raise SettingsError(f"{where}: expected one line of printable ASCII.")
    return key


def _own_headers(settings: UpstreamSettings, key: str | None) -> list[tuple[bytes, bytes]]:
    headers = [
        (b"content-type", b"application/json"),
        (b"accept-encoding", b"identity"),
        (b"user-agent", f"pointsman/{__version__}".encode()),
    ]
    if key is not None:
        is_azure = settings.api == "azure"
        headers.append(
            (b"api-key", key.encode()) if is_azure else (b"authorization", b"Bearer " + key.encode())
        )
    return headers


def _retry_after(value: str | None) -> float | None:
    """Seconds, from a number or a date; None where there is neither, bounded either way."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError):
            return None
    return min(_MAX_HOLD_S, max(0.0, seconds)) if math.isfinite(seconds) else None
