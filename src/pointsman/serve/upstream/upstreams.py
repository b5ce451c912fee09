"""The two upstreams: how to call one, and every way in which a call can fail before its first byte.

Only headers from a list go out. How a target was chosen, and how long a client waits, is decided elsewhere.
"""

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import httpx

from pointsman.serve.failures import GatewayError
from pointsman.serve.observability.metrics import Metrics
from pointsman.serve.settings import GatewaySettings
from pointsman.serve.upstream.breaker import Breaker, RetryBudget
from pointsman.serve.upstream.connection import MalformedError
from pointsman.serve.upstream.headers import FORWARDED, is_harmless, own_headers
from pointsman.serve.upstream.transport import (
    HttpTransport,
    NotConnectedError,
    OutOfDescriptorsError,
    Response,
    Transport,
)
from pointsman.serve.upstream_settings import UpstreamSettings

_KINDS = frozenset({"application/json", "text/event-stream", "text/plain", ""})
"""Content types of an answer that may be one; some servers say `text/plain` of JSON, or nothing."""
_ENCODINGS = frozenset({"identity", "gzip", "x-gzip", "deflate"})
BUSY = (429, 529)
"""An upstream that has too much to do says so; 529 is Anthropic's way."""
_OPEN_HEADERS = frozenset({b"content-type", b"accept-encoding", b"user-agent"})
"""Of what every request says; anything else there is a key, or the operator's."""
_MAX_TARGETS = 64
_SHORTEST_SECRET = 16
_DEFAULT_HOLD_S = 1.0
_MAX_HOLD_S = 300.0


class CallFailedError(Exception):
    """A call that brought no usable answer.

    Attributes:
        cause: `unreachable`, `reset`, `timeout`, `invalid`, `status`, `rate_limited` or `open` (the breaker).
        retry_after_s: when to come back.
        detail: what is known beside that: a status, or why there was no connection; nothing of a request.
    """

    def __init__(self, cause: str, retry_after_s: float = 1.0, detail: str = "") -> None:
        super().__init__(cause)
        self.cause = cause
        self.retry_after_s = retry_after_s
        self.detail = detail


@dataclass(slots=True)
class UpstreamResponse:
    """An answer whose head is there and whose body is still to come.

    Attributes:
        kind: the content type, without parameters, in small letters.
        client: who asked.
    """

    upstream: "Upstream"
    response: Response
    kind: str
    client: str

    @property
    def is_stream(self) -> bool:
        """Whether the body is a stream of events."""
        return self.kind == "text/event-stream"

    def record_broken(self, cause: str) -> CallFailedError:
        """Count a body that broke off against the upstream; returns the error that says why."""
        self.upstream.breaker.failure(self.client)
        self.upstream.count("broken")
        return CallFailedError(cause)

    def record_judged(self, *, is_own_error: bool) -> None:
        """Count an answer by its status and, where that says of no success, by what its body is.

        Args:
            is_own_error: the body is an error in JSON: what the client asked was understood and refused.

        Raises:
            CallFailedError: 429 or 5xx.
        """
        status, upstream = self.response.status, self.upstream
        if status < 500 and status not in BUSY:
            upstream.breaker.success(self.client)
            upstream.count("answered" if status < 400 else "refused")
            return
        wish = _retry_after(self.response.headers.get("retry-after"))
        cause = "rate_limited" if status in BUSY else "refused" if is_own_error else "status"
        raise upstream.failed(cause, self.client, wish, f"status {status}")


class Upstream:
    """One configured service.

    Args:
        transport: sends the requests to its address.

    Attributes:
        secrets: what no log line and no answer may show of its errors.
        long_secrets: the words of these that can be told from others.
    """

    def __init__(self, name: str, settings: UpstreamSettings, metrics: Metrics, transport: Transport) -> None:
        self.name = name
        self.settings = settings
        self.breaker = Breaker(settings.breaker_failures, settings.breaker_open_s)
        self.budget = RetryBudget()
        self._metrics = metrics
        self._headers = own_headers(settings, name)
        self.secrets = [value.decode() for name, value in self._headers if name not in _OPEN_HEADERS]
        own = {name for name, _ in self._headers}
        words = {word for value in self.secrets for word in value.split()}
        self.long_secrets = {word for word in words if len(word) >= _SHORTEST_SECRET}
        self._forwarded = [name for name in FORWARDED if name not in own]
        self._transport = transport
        self._targets: dict[str, bytes] = {}

    def masked_error(self, answer: bytes) -> bytes:
        """An answer, or events of one, without the keys where it holds an error, whatever its status says."""
        return bytes(self.masked(bytearray(answer))) if b'"error"' in answer else answer

    def masked(self, error: bytearray) -> bytearray:
        """An error's body without the keys that it is sent: some repeat the one that they refuse."""
        for word in self.long_secrets:
            for form in (word, json.dumps(word)[1:-1], word.replace("/", "\\/")):
                error = error.replace(form.encode(), b"***")
        return error

    async def call(
        self,
        path: str,
        body: bytes,
        headers: Mapping[bytes, bytes],
        client: str = "",
        method: str = "POST",
    ) -> UpstreamResponse:
        """Send a request and wait for the head of a usable answer, trying again where that is safe.

        Args:
            path: after the base address, for example `/chat/completions`.
            body: JSON.
            headers: of the client; only those in `FORWARDED` go on.
            client: whose failures these are.

        Raises:
            CallFailedError: no answer, or none that can be one; an error status is judged later.
            GatewayError: `overloaded`: this process can open no connection.
        """
        self.budget.request()
        for attempt in range(self.settings.retries + 1):
            if not self.breaker.allow(client):
                cause = "rate_limited" if self.breaker.is_held(client) else "open"
                raise CallFailedError(cause, self.breaker.wait_s(client))
            try:
                return await self._once(path, body, headers, client, method)
            except CallFailedError as failed:
                # Only a connection that never stood is tried again: nothing can have been done twice.
                is_last = attempt == self.settings.retries or failed.cause != "unreachable"
                if is_last or not self.budget.spend():
                    raise
        raise CallFailedError("unreachable")

    def failed(
        self, cause: str, client: str, retry_after_s: float | None = None, detail: str = ""
    ) -> CallFailedError:
        """Count a call without a usable answer; returns the error that says why.

        Only what says that the upstream is down counts against it; what it says of a request does not.
        """
        self.count(cause)
        if cause in ("rate_limited", "refused"):
            self.breaker.success(client)
            if cause == "rate_limited":
                self.breaker.hold(retry_after_s or _DEFAULT_HOLD_S, client)
        else:
            self.breaker.failure(client, is_certain=cause == "unreachable")
            if retry_after_s:
                self.breaker.hold(retry_after_s, client)
        return CallFailedError(cause, retry_after_s or 1.0, detail)

    def count(self, outcome: str) -> None:
        """Count what became of a call."""
        self._metrics.upstream.labels(self.name, outcome).inc()

    def close(self) -> None:
        """Close every idle connection."""
        self._transport.close()

    async def _once(
        self, path: str, body: bytes, headers: Mapping[bytes, bytes], client: str, method: str
    ) -> UpstreamResponse:
        started = time.monotonic()
        sent = [(name, value) for name in self._forwarded if is_harmless(value := headers.get(name, b""))]
        sent += self._headers
        try:
            response = await self._transport.send(
                self._target(path), sent, body, self.settings.connect_timeout_s, method
            )
        except OutOfDescriptorsError:
            raise GatewayError("overloaded", "no more connections can be opened here; try again") from None
        except NotConnectedError as error:
            raise self.failed("unreachable", client, detail=str(error)) from None
        except MalformedError:
            raise self.failed("invalid", client, detail="no HTTP/1.1") from None
        except OSError:
            raise self.failed("reset", client) from None
        self._metrics.phase_s.labels("upstream_head", self.name).observe(time.monotonic() - started)
        told, status = response.headers, response.status
        kind = told.get("content-type", "").partition(";")[0].strip().lower()
        encoding = told.get("content-encoding", "").lower() or "identity"
        if status < 200 or 300 <= status < 400:
            detail = f"status {status}"
        elif encoding not in _ENCODINGS:
            detail = "an encoding that was not asked for"
        elif status < 300 and kind not in _KINDS:
            detail = f"status {status} with another content type than JSON or an event stream"
        else:
            return UpstreamResponse(self, response, kind, client)
        response.close()
        raise self.failed("invalid", client, detail=detail)

    def _target(self, path: str) -> bytes:
        """The path and query of a request, as they stand in it."""
        known = self._targets.get(path)
        if known is not None:
            return known
        url = self.settings.url + path
        if self.settings.api == "azure":
            path, _, query = path.partition("?")
            query = f"?api-version={self.settings.api_version}" + (f"&{query}" if query else "")
            url = f"{self.settings.url}/openai/deployments/{self.settings.model}{path}{query}"
        target = httpx.URL(url).raw_path
        if len(self._targets) < _MAX_TARGETS:
            self._targets[path] = target
        return target


class Upstreams(dict[str, Upstream]):
    """Those that are configured, by target.

    Args:
        open_transport: makes the transport of an upstream from its address.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        metrics: Metrics,
        open_transport: Callable[[str], Transport] = HttpTransport,
    ) -> None:
        super().__init__(
            (name, Upstream(name, found, metrics, open_transport(found.url)))
            for name in ("local", "cloud")
            if (found := getattr(settings.upstreams, name)) is not None
        )

    def secrets(self) -> set[str]:
        """The words of the keys and further headers that they are sent, without short ones."""
        return {word for one in self.values() for word in one.long_secrets}

    def close(self) -> None:
        """Close all."""
        for upstream in self.values():
            upstream.close()


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
