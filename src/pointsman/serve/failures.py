"""Every way a request can fail, as one table: code to status, kind and advice for the client.

One body for all: `{"error": {"message", "type", "code", "request_id"}}`, and Anthropic's at `/v1/messages`. A
message says what was expected; it never repeats what was sent, and holds no path, no address and no stack.
"""

import json
import math
from dataclasses import dataclass
from typing import Any

from pointsman.errors import (
    ArtifactError,
    EmptyTextError,
    InputError,
    NonFiniteOutputError,
    PointsmanError,
    RuntimeUnavailableError,
    UpstreamError,
)


@dataclass(frozen=True, slots=True)
class Kind:
    """How one code is answered: the status, OpenAI's error type, and whether trying again may help."""

    status: int
    type: str
    should_retry: bool = False
    retry_after: bool = False
    closes: bool = False


_REQUEST = "invalid_request_error"
_SERVER = "server_error"

KINDS = {
    "invalid_json": Kind(400, _REQUEST),
    "invalid_request": Kind(400, _REQUEST),
    "empty_input": Kind(400, _REQUEST),
    "forbidden_parameter": Kind(400, _REQUEST),
    "unauthorized": Kind(401, "authentication_error"),
    "forbidden": Kind(403, "permission_error"),
    "not_found": Kind(404, _REQUEST),
    "method_not_allowed": Kind(405, _REQUEST),
    "request_timeout": Kind(408, _REQUEST, closes=True),
    "reload_refused": Kind(409, _REQUEST),
    "body_too_large": Kind(413, _REQUEST, closes=True),
    "batch_too_large": Kind(413, _REQUEST),
    "unsupported_media_type": Kind(415, _REQUEST),
    "rate_limited": Kind(429, "rate_limit_error", should_retry=True, retry_after=True),
    "upstream_rate_limited": Kind(429, "rate_limit_error", should_retry=True, retry_after=True),
    "headers_too_large": Kind(431, _REQUEST, closes=True),
    "internal_error": Kind(500, _SERVER),
    "protocol_not_spoken": Kind(501, _SERVER),
    "upstream_unreachable": Kind(502, _SERVER, retry_after=True),
    "upstream_invalid": Kind(502, _SERVER, retry_after=True),
    "overloaded": Kind(503, _SERVER, should_retry=True, retry_after=True),
    "queue_timeout": Kind(503, _SERVER, should_retry=True, retry_after=True),
    "draining": Kind(503, _SERVER, should_retry=True, retry_after=True, closes=True),
    "model_unavailable": Kind(503, _SERVER, should_retry=True, retry_after=True),
    "non_finite_output": Kind(503, _SERVER, should_retry=True, retry_after=True),
    "local_unavailable": Kind(503, _SERVER, should_retry=True, retry_after=True),
    "no_upstream": Kind(503, _SERVER, retry_after=True),
    "upstream_timeout": Kind(504, _SERVER, retry_after=True),
}

_ANTHROPIC_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""Anthropic's error types by status; any other is `invalid_request_error` (4xx) or `api_error` (5xx)."""


class GatewayError(PointsmanError):
    """A failure with its code; the message is for the client."""

    def __init__(self, code: str, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.kind = KINDS[code]
        self.retry_after_s = retry_after_s
        self.headers: list[tuple[bytes, bytes]] = []
        """Further headers of the answer, for example the decision that was made before it failed."""
        self.extra: dict[str, Any] = {}
        """Further fields of the body, beside `error`."""


_TABLE: tuple[tuple[type[PointsmanError], str, str], ...] = (
    (EmptyTextError, "empty_input", "there is nothing to read in the text"),
    (InputError, "invalid_request", "the text cannot be read"),
    (NonFiniteOutputError, "non_finite_output", "the classifier gave no usable answer"),
    (ArtifactError, "model_unavailable", "the classifier is not available"),
    (RuntimeUnavailableError, "model_unavailable", "the classifier is not available"),
    (UpstreamError, "upstream_unreachable", "the upstream cannot be reached"),
)
"""Our own error classes, the narrower before the wider, with what a client is told."""


_NO_THREAD = "can't start new thread"
"""What Python says where there is no memory for the stack of a thread."""


def as_gateway_error(error: BaseException) -> GatewayError:
    """The answer to any exception; an unexpected one is an `internal_error` without details."""
    if isinstance(error, GatewayError):
        return error
    for cls, code, message in _TABLE:
        if isinstance(error, cls):
            return GatewayError(code, message)
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _NO_THREAD in str(error)):
        return GatewayError("overloaded", "there is no memory to answer now; try again")
    return GatewayError("internal_error", "something went wrong here; the request id leads to it in the log")


def error_value(error: GatewayError, request_id: str, *, is_anthropic: bool = False) -> dict[str, Any]:
    """The value of a body, or of an in-band event, in OpenAI's shape or in Anthropic's."""
    if is_anthropic:
        return {**anthropic_error(error.kind.status, error.message, error.code, request_id), **error.extra}
    found = {"message": error.message, "type": error.kind.type, "code": error.code, "request_id": request_id}
    return {"error": found, **error.extra}


def anthropic_error(status: int, message: str, code: str, request_id: str) -> dict[str, Any]:
    """An error in Anthropic's shape; its SDKs read the code from `details`."""
    kind = _ANTHROPIC_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
    found = {"type": kind, "message": message, "code": code, "details": {"error_code": code}}
    return {"type": "error", "error": found, "request_id": request_id}


def error_body(error: GatewayError, request_id: str, *, is_anthropic: bool = False) -> bytes:
    """The whole body."""
    return json.dumps(error_value(error, request_id, is_anthropic=is_anthropic)).encode()


def error_headers(error: GatewayError) -> list[tuple[bytes, bytes]]:
    """Retry-After (whole seconds, at least 1) and x-should-retry as the table says, and the error's own."""
    headers = [(b"x-should-retry", b"true" if error.kind.should_retry else b"false")]
    if error.kind.retry_after:
        seconds = max(1, math.ceil(error.retry_after_s))
        headers.append((b"retry-after", str(seconds).encode()))
    if error.kind.closes:
        headers.append((b"connection", b"close"))
    return headers + error.headers
