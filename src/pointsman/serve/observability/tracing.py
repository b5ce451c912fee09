"""OpenTelemetry spans of what a request went through: decided, queued, sent on. Off unless asked for.

Names follow the GenAI conventions (`gen_ai.*`); what only a router knows is under `pointsman.*`. A span holds
facts from closed sets and figures, never a text, a key or a name that a client made up. OpenTelemetry's own
variables say where spans go and how many (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_TRACES_SAMPLER`).
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from pointsman.errors import MissingExtraError
from pointsman.serve.edge.http import ClientGone, Exchange
from pointsman.serve.failures import as_gateway_error

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

_NANOSECONDS = 1e9


class Call:
    """A call of an upstream, from its request to the end of its answer."""

    headers: Mapping[bytes, bytes] = {}
    """What the upstream needs to continue the trace."""

    def say(self, **facts: str | int | float | bool | None) -> None:
        """Add `pointsman.*` facts."""

    def used(self, tokens_in: int, tokens_out: int) -> None:
        """Say how many tokens it took; 0 and 0 where that is not known."""

    def end(self, failure: str | None = None) -> None:
        """The answer is over; `failure` is the code or the cause where it is not whole."""


class Tracing:
    """No spans at all: what a gateway uses that was not asked for any."""

    def request(self, exchange: Exchange) -> AbstractContextManager[None]:
        """Around the handling of a request."""
        return nullcontext()

    def decision(self) -> AbstractContextManager[Call]:
        """Around the choice of a target."""
        return nullcontext(Call())

    def classified(self, queued_s: float, run_s: float) -> None:
        """Record the seconds that a text has waited, and those that the model took."""

    def call(self, upstream: str, provider: str, operation: str, model: str | None) -> Call:
        """Begin a call of an upstream; provider and operation in the words of the GenAI conventions."""
        return Call()

    def close(self) -> None:
        """Send what is left."""


def make_tracing(is_on: bool) -> Tracing:
    """Spans by OTLP over HTTP, or none.

    Raises:
        MissingExtraError: asked for, and the packages are not there.
    """
    if not is_on:
        return Tracing()
    try:
        return Spans(_exporting())
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "opentelemetry":
            raise
        raise MissingExtraError(
            "server.traces needs OpenTelemetry. Install it with: pip install 'pointsman[otel]'"
        ) from None


def _exporting() -> "SpanProcessor":
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    return BatchSpanProcessor(OTLPSpanExporter())


class Spans(Tracing):
    """Spans for a processor.

    Args:
        processor: takes each span at its end.
    """

    def __init__(self, processor: "SpanProcessor") -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": "pointsman"}
        self._provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("pointsman.serve")
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def request(self, exchange: Exchange) -> Iterator[None]:
        """A server's span, in the trace that the client began."""
        from opentelemetry.trace import SpanKind, StatusCode

        names = ("traceparent", "tracestate")
        carrier = {name: value for name in names if (value := exchange.header(name.encode()))}
        with self._tracer.start_as_current_span(
            f"{exchange.method} {exchange.route}",
            context=self._propagator.extract(carrier),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": exchange.method, "http.route": exchange.route},
            # The words of an exception may quote what it choked on.
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            status = 0
            try:
                yield
            except ClientGone:
                raise
            except Exception as error:
                known = as_gateway_error(error)
                status = known.kind.status
                span.set_attribute("error.type", known.code)
                raise
            finally:
                status = exchange.status or status
                if status:
                    span.set_attribute("http.response.status_code", status)
                if status >= 500:
                    span.set_status(StatusCode.ERROR)

    @contextmanager
    def decision(self) -> Iterator[Call]:
        """A span of our own."""
        with self._tracer.start_as_current_span(
            "pointsman.decide", record_exception=False, set_status_on_exception=False
        ) as span:
            yield _SpanCall(span, {})

    def classified(self, queued_s: float, run_s: float) -> None:
        """Two spans that are over already."""
        now = time.time_ns()
        taken = now - int(run_s * _NANOSECONDS)
        queue = self._tracer.start_span("pointsman.queue", start_time=taken - int(queued_s * _NANOSECONDS))
        queue.end(taken)
        self._tracer.start_span("pointsman.model", start_time=taken).end(now)

    def call(self, upstream: str, provider: str, operation: str, model: str | None) -> Call:
        """A client's span, which the upstream is told."""
        from opentelemetry.trace import SpanKind, set_span_in_context

        facts: dict[str, Any] = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": provider,
            "pointsman.upstream": upstream,
        }
        if model is not None:
            facts["gen_ai.request.model"] = model
        name = operation if model is None else f"{operation} {model}"
        span = self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=facts)
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, set_span_in_context(span))
        return _SpanCall(span, {key.encode(): value.encode() for key, value in carrier.items()})

    def close(self) -> None:
        """Send what is left; blocks."""
        self._provider.shutdown()


class _SpanCall(Call):
    def __init__(self, span: Any, headers: Mapping[bytes, bytes]) -> None:
        self._span = span
        self.headers = headers

    def say(self, **facts: str | int | float | bool | None) -> None:
        for name, value in facts.items():
            if value is not None:
                self._span.set_attribute(f"pointsman.{name}", value)

    def used(self, tokens_in: int, tokens_out: int) -> None:
        if not tokens_in + tokens_out:
            return
        self._span.set_attribute("gen_ai.usage.input_tokens", tokens_in)
        self._span.set_attribute("gen_ai.usage.output_tokens", tokens_out)

    def end(self, failure: str | None = None) -> None:
        from opentelemetry.trace import StatusCode

        if failure is not None:
            self._span.set_attribute("error.type", failure)
            self._span.set_status(StatusCode.ERROR)
        self._span.end()
