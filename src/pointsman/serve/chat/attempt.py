"""One upstream asked once: its answer up to the first piece that can go to the client, or why there is none.

Until that piece another upstream may answer instead; whether one may is decided elsewhere.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from pointsman.serve.chat.cost import count_unanswered
from pointsman.serve.chat.dialects import Dialect
from pointsman.serve.chat.refusal import loggable, message_of
from pointsman.serve.chat.request import ChatRequest
from pointsman.serve.chat.response_ids import as_the_client_sees, as_the_upstream_says
from pointsman.serve.chat.started import StartedResponse
from pointsman.serve.edge import large_json
from pointsman.serve.edge.idle_timeout import IdleTimeout
from pointsman.serve.edge.strict_json import object_or_none
from pointsman.serve.observability.tracing import Call
from pointsman.serve.upstream import sse
from pointsman.serve.upstream.headers import ANTHROPIC_VERSION
from pointsman.serve.upstream.transport import UnreadableBodyError
from pointsman.serve.upstream.upstreams import CallFailedError, Upstream, UpstreamResponse

_SHOWN_BYTES = 512
_PERHAPS_PAID = ("timeout", "cancelled")
"""After these the upstream may still have done its work."""
_RESULTS = frozenset({"id", "object", "choices", "output", "content", "data", "input_tokens"})
"""Keys of an answer; what has an error and none of these is one, whatever its status says: some say 200."""


class RefusedError(CallFailedError):
    """The upstream understood the request and answered with an error in JSON, which is the client's own.

    Attributes:
        started: that answer, whole.
    """

    def __init__(self, failed: CallFailedError, started: StartedResponse) -> None:
        super().__init__(failed.cause, failed.retry_after_s, failed.detail)
        # The call is over; what is left is to pass its answer on.
        self.started = replace(started, call=Call())


async def attempt(request: ChatRequest, upstream: Upstream) -> StartedResponse:
    """Ask an upstream and wait for the first piece of its answer.

    Raises:
        CallFailedError: it gave none; its connection is closed.
    """
    settings, dialect = upstream.settings, request.dialect
    provider = "azure.ai.openai" if settings.api == "azure" else dialect.provider
    call = request.gateway.tracing.call(upstream.name, provider, dialect.operation, settings.model)
    try:
        return await _started(request, upstream, call)
    except BaseException as error:
        cause = error.cause if isinstance(error, CallFailedError) else "cancelled"
        if cause in _PERHAPS_PAID:
            count_unanswered(request, upstream)
        call.end(cause)
        raise


async def _started(request: ChatRequest, upstream: Upstream, call: Call) -> StartedResponse:
    headers, client = {**_headers(request), **call.headers}, request.exchange.client
    failed: Callable[[str], CallFailedError] = partial(upstream.failed, client=client)
    try:
        async with IdleTimeout(request.deadline, upstream.settings.first_byte_timeout_s) as timeout:
            body = await _body_for(request, upstream)
            answer = await upstream.call(_path(request), body, headers, client, request.method)
            failed = answer.record_broken
            try:
                if answer.response.status < 400:
                    answer.record_judged(is_own_error=False)
                if answer.is_stream:
                    return await _first_events(request.dialect, answer, call)
                return await _whole_body(request, answer, call, timeout)
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
            usage, count = [data] if dialect.usage_mark in data else [], data.count(b"data:")
            data = as_the_client_sees(answer.upstream.masked_error(data), dialect.path, answer.upstream.name)
            return StartedResponse(answer, call, data, None, events, usage, count)
        data = data[-sse.MAX_EVENT_BYTES :]
    raise answer.record_broken("invalid")


async def _whole_body(
    request: ChatRequest, answer: UpstreamResponse, call: Call, timeout: IdleTimeout
) -> StartedResponse:
    response, idle_s = answer.response, answer.upstream.settings.idle_timeout_s
    most = request.gateway.settings.limits.answer_bytes
    announced = response.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > most:
        raise answer.record_broken("invalid")
    body = bytearray()
    while piece := await response.read():
        timeout.renew(idle_s)
        if len(body) + len(piece) > most:
            raise answer.record_broken("invalid")
        request.exchange.hold(len(piece))
        body += piece
    if response.status >= 400:
        body = answer.upstream.masked(body)
    value = await request.gateway.read(len(body), request.exchange.client, object_or_none, body)
    if response.status < 400 and value is None:
        raise answer.record_broken("invalid")
    data = answer.upstream.masked_error(bytes(body))
    data = as_the_client_sees(data, request.dialect.path, answer.upstream.name)
    started = StartedResponse(answer, call, data, value)
    if response.status >= 400 or (value and value.get("error") and _RESULTS.isdisjoint(value)):
        await _judge(request, started)
    return started


async def _judge(request: ChatRequest, started: StartedResponse) -> None:
    """Count an error, and say in the log line what of it may be told.

    Raises:
        CallFailedError: it is no answer to the client; a RefusedError where it can become one.
    """
    answer, said, facts = started.answer, message_of(started.value), request.exchange.facts
    is_own_error = said is not None
    told = started.data[:_SHOWN_BYTES].decode("utf-8", "replace") if said is None else said
    told = await request.read(loggable, request.payload, told, answer.upstream.secrets)
    facts |= {"upstream_status": answer.response.status, "upstream_error": told}
    try:
        if answer.response.status < 400:
            raise answer.record_broken("invalid")
        answer.record_judged(is_own_error=is_own_error)
    except CallFailedError as failed:
        if request.gateway.settings.routing.show_upstream_errors:
            failed.detail += f": {told}" if failed.detail else told
        is_answer = is_own_error and answer.response.status >= 400
        raise (RefusedError(failed, started) if is_answer else failed) from None


async def _body_for(request: ChatRequest, upstream: Upstream) -> bytes:
    """The request as it came, but for the model's name and the ids of the turns before."""
    if request.method != "POST":
        return b""
    sent = as_the_upstream_says(request.payload, request.dialect.path)
    if sent and request.dialect.names_model:
        sent = {**sent, "model": upstream.settings.model}
    if sent.get("model", "") is None:
        del sent["model"]
    if request.exchange.held_bytes > large_json.AT_ONCE_BYTES:
        return await request.read(large_json.dump, sent)
    return json.dumps(sent, ensure_ascii=False, separators=(",", ":")).encode()


def _headers(request: ChatRequest) -> dict[bytes, bytes]:
    exchange = request.exchange
    headers = {**dict(exchange.scope["headers"]), b"x-request-id": exchange.request_id.encode()}
    if request.dialect.is_anthropic:
        headers.setdefault(b"anthropic-version", ANTHROPIC_VERSION)
        headers[b"anthropic-beta"] = ",".join(exchange.header_values(b"anthropic-beta")).encode("latin-1")
    return headers


def _path(request: ChatRequest) -> str:
    """After an upstream's base address; of the query only what Anthropic's clients mark new features with."""
    is_beta = request.dialect.is_anthropic and request.exchange.query().get("beta") == "true"
    return request.dialect.path + ("?beta=true" if is_beta else "")
