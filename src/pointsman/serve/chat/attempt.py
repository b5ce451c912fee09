"""One upstream asked once: its answer up to the first piece that can go to the client, or why there is none.

Until that piece another upstream may answer instead; whether one may is decided elsewhere.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from pointsman.serve.chat.context import ChatContext
from pointsman.serve.chat.dialects import Dialect
from pointsman.serve.chat.refusal import loggable, message_of
from pointsman.serve.chat.response_ids import as_the_upstream_says
from pointsman.serve.edge import large_json
from pointsman.serve.edge.idle_timeout import IdleTimeout
from pointsman.serve.edge.strict_json import object_or_none
from pointsman.serve.observability.tracing import Call
from pointsman.serve.upstream import sse
from pointsman.serve.upstream.headers import ANTHROPIC_VERSION
from pointsman.serve.upstream.transport import UnreadableBodyError
from pointsman.serve.upstream.upstreams import CallFailedError, Upstream, UpstreamResponse

_SHOWN_BYTES = 512
_RESULTS = frozenset({"id", "object", "choices", "output", "content", "data", "input_tokens"})
"""Keys of an answer; what has an error and none of these is one, whatever its status says: some say 200."""


@dataclass(slots=True)
class StartedResponse:
    """An answer of which the first piece is here: a whole body, or the first whole events of a stream.

    Attributes:
        value: of a whole body, where it is a JSON object.
        events: of a stream: holds back its unfinished end.
        usage: of a stream: the first and the last piece that said something of tokens.
        asked_bytes: of the body that the upstream was sent.
        event_count: of a stream: events that have come, about.
    """

    answer: UpstreamResponse
    call: Call
    data: bytes
    value: dict[str, Any] | None = None
    events: sse.EventRelay | None = None
    usage: list[bytes] = field(default_factory=list)
    asked_bytes: int = 0
    event_count: int = 0

    def drop(self) -> None:
        """The rest is not needed: close its connection."""
        self.answer.response.close()
        self.call.end("cancelled")


class RefusedError(CallFailedError):
    """The upstream understood the request and answered with an error in JSON, which is the client's own.

    Attributes:
        started: that answer, whole.
    """

    def __init__(self, failed: CallFailedError, started: StartedResponse) -> None:
        super().__init__(failed.cause, failed.retry_after_s, failed.detail)
        # The call is over; what is left is to pass its answer on.
        self.started = replace(started, call=Call())


async def attempt(context: ChatContext, upstream: Upstream) -> StartedResponse:
    """Ask an upstream and wait for the first piece of its answer.

    Raises:
        CallFailedError: it gave none; its connection is closed.
    """
    settings = upstream.settings
    dialect = context.dialect
    provider = "azure.ai.openai" if settings.api == "azure" else dialect.provider
    call = context.gateway.tracing.call(upstream.name, provider, dialect.operation, settings.model)
    try:
        return await _started(context, upstream, call)
    except BaseException as error:
        call.end(error.cause if isinstance(error, CallFailedError) else "cancelled")
        raise


async def _started(context: ChatContext, upstream: Upstream, call: Call) -> StartedResponse:
    headers = {**_headers(context), **call.headers}
    client = context.exchange.client

    def unanswered(cause: str) -> CallFailedError:
        return upstream.failed(cause, client)

    failed: Callable[[str], CallFailedError] = unanswered
    try:
        async with IdleTimeout(context.deadline, upstream.settings.first_byte_timeout_s) as timeout:
            body = await _body_for(context, upstream)
            answer = await upstream.call(_path(context), body, headers, client, context.method)
            failed = answer.record_broken
            try:
                if answer.response.status < 400:
                    answer.record_judged(is_own_error=False)
                if answer.is_stream:
                    started = await _first_events(context.dialect, answer, call)
                    started.asked_bytes, started.event_count = len(body), started.data.count(b"data:")
                    return started
                return await _whole_body(context, answer, call, timeout)
            except BaseException:
                answer.response.close()
                raise
    except TimeoutError:
        raise failed("timeout") from None
    except UnreadableBodyError:
        raise failed("invalid") from None
    except OSError:
        raise failed("reset") from None


async def _first_events(dialect: Dialect, answer: UpstreamResponse, call: Call) -> StartedResponse:
    events = sse.EventRelay()
    data = b""
    while piece := await answer.response.read():
        data += events.feed(piece)
        # A comment only says that the connection stands: another upstream may still answer instead.
        if not sse.is_comments(data):
            usage = [data] if dialect.usage_mark in data else []
            return StartedResponse(answer, call, data, None, events, usage)
        data = data[-sse.MAX_EVENT_BYTES :]
    raise answer.record_broken("invalid")


async def _whole_body(
    context: ChatContext, answer: UpstreamResponse, call: Call, timeout: IdleTimeout
) -> StartedResponse:
    response, idle_s = answer.response, answer.upstream.settings.idle_timeout_s
    most = context.gateway.settings.limits.answer_bytes
    announced = response.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > most:
        raise answer.record_broken("invalid")
    body = bytearray()
    while piece := await response.read():
        timeout.renew(idle_s)
        if len(body) + len(piece) > most:
            raise answer.record_broken("invalid")
        context.exchange.hold(len(piece))
        body += piece
    if response.status >= 400:
        body = answer.upstream.masked(body)
    value = await context.gateway.read(len(body), object_or_none, body)
    if response.status < 300 and value is None:
        raise answer.record_broken("invalid")
    started = StartedResponse(answer, call, bytes(body), value)
    if response.status >= 400:
        await _judge(context, started)
    elif value is not None and value.get("error") and _RESULTS.isdisjoint(value):
        raise _with_detail(context, answer.record_broken("invalid"), await _note(context, started))
    return started


async def _judge(context: ChatContext, started: StartedResponse) -> None:
    """Count an error.

    Raises:
        CallFailedError: it is no answer to the client; a RefusedError where it can become one.
    """
    said = await _note(context, started)
    is_own_error = message_of(started.value) is not None
    try:
        started.answer.record_judged(is_own_error=is_own_error)
    except CallFailedError as failed:
        failed = _with_detail(context, failed, said)
        raise (RefusedError(failed, started) if is_own_error else failed) from None


async def _note(context: ChatContext, started: StartedResponse) -> str:
    """What of an error may be told; it goes into the log line."""
    said, facts = message_of(started.value), context.exchange.facts
    if said is None:
        said = started.data[:_SHOWN_BYTES].decode("utf-8", "replace")
    facts["upstream_status"] = started.answer.response.status
    shown = (loggable, context.payload, said, started.answer.upstream.secrets)
    facts["upstream_error"] = await context.gateway.read(context.exchange.held_bytes, *shown)
    return str(facts["upstream_error"])


def _with_detail(context: ChatContext, failed: CallFailedError, said: str) -> CallFailedError:
    """The failure, with what the upstream said of it where the operator lets clients see that."""
    if context.gateway.settings.routing.show_upstream_errors:
        failed.detail += f": {said}" if failed.detail else said
    return failed


async def _body_for(context: ChatContext, upstream: Upstream) -> bytes:
    """The request as it came, but for the model's name and the ids of the turns before."""
    if context.method != "POST":
        return b""
    sent = as_the_upstream_says(context.payload, context.dialect.path)
    if sent and context.dialect.names_model:
        sent = {**sent, "model": upstream.settings.model}
    if sent.get("model", "") is None:
        del sent["model"]
    size = context.exchange.held_bytes
    if size > large_json.AT_ONCE_BYTES:
        return await context.gateway.read(size, large_json.dump, sent)
    return json.dumps(sent, ensure_ascii=False, separators=(",", ":")).encode()


def _headers(context: ChatContext) -> dict[bytes, bytes]:
    exchange = context.exchange
    headers = {**dict(exchange.scope["headers"]), b"x-request-id": exchange.request_id.encode()}
    if context.dialect.is_anthropic:
        headers.setdefault(b"anthropic-version", ANTHROPIC_VERSION)
        headers[b"anthropic-beta"] = ",".join(exchange.header_values(b"anthropic-beta")).encode("latin-1")
    return headers


def _path(context: ChatContext) -> str:
    """After an upstream's base address; of the query only what Anthropic's clients mark new features with."""
    is_beta = context.dialect.is_anthropic and context.exchange.query().get("beta") == "true"
    return context.dialect.path + ("?beta=true" if is_beta else "")
