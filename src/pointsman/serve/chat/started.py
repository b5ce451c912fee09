"""An answer that has begun."""

from dataclasses import dataclass, field
from typing import Any

from pointsman.serve.observability.tracing import Call
from pointsman.serve.upstream import sse
from pointsman.serve.upstream.upstreams import Upstream, UpstreamResponse


@dataclass(slots=True)
class StartedResponse:
    """An answer of which the first piece is here: a whole body, or the first whole events of a stream.

    Attributes:
        data: that piece, with the ids by which the client knows what the upstream keeps.
        value: of a whole body, where it is a JSON object.
        events: of a stream: holds back its unfinished end.
        usage: of a stream: the first and the last piece that said something of tokens.
        event_count: of a stream: events that have come, about.
    """

    answer: UpstreamResponse
    call: Call
    data: bytes
    value: dict[str, Any] | None = None
    events: sse.EventRelay | None = None
    usage: list[bytes] = field(default_factory=list)
    event_count: int = 0

    @property
    def upstream(self) -> Upstream:
        """Who answers."""
        return self.answer.upstream

    def close(self, failure: str | None = None) -> None:
        """Nothing more is read of it; `failure` says why where it is not whole."""
        self.answer.response.close()
        self.call.end(failure)
