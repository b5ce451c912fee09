"""The protocols in which a chat is asked, as one table of what each has of its own.

No request is translated: an upstream answers in the protocol that the client speaks, or not at all.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Dialect:
    """One route's protocol.

    Attributes:
        path: after an upstream's base address.
        provider: whose protocol it is, in the words of OpenTelemetry's GenAI conventions.
        apis: the values of `upstreams.*.api` that speak it.
        operation: what a call is named in traces.
        usage_mark: stands in each event of a stream that says how many tokens there were.
        end_marks: one of these stands in the last event of a stream that is whole.
        names_model: a request says which model; the name is changed to the upstream's.
        takes_any_model: an unknown `model`, or one of Anthropic's, leaves the choice to the router.
    """

    path: str
    provider: str = "openai"
    apis: tuple[str, ...] = ("openai", "azure", "both")
    operation: str = "chat"
    usage_mark: bytes = b'_tokens"'
    end_marks: tuple[bytes, ...] = (b"[DONE]",)
    names_model: bool = True
    takes_any_model: bool = False

    @property
    def has_streams(self) -> bool:
        """Whether a request may ask for one."""
        return self.operation in ("chat", "text_completion")

    @property
    def is_paid(self) -> bool:
        """Whether a model is asked, so that an answer without a count of tokens has some nevertheless."""
        return self.has_streams or self.operation == "embeddings"

    @property
    def is_anthropic(self) -> bool:
        """Whether errors have Anthropic's shape, and events a name."""
        return self.provider == "anthropic"


def _anthropic(path: str, operation: str) -> Dialect:
    return Dialect(
        path,
        provider="anthropic",
        apis=("anthropic", "both"),
        operation=operation,
        usage_mark=b'"usage":',
        end_marks=(b"message_stop",),
        takes_any_model=True,
    )


CHAT = Dialect("/chat/completions")
COMPLETION = Dialect("/completions", operation="text_completion")
RESPONSE = Dialect(
    "/responses", end_marks=(b"response.completed", b"response.incomplete", b"response.failed")
)
CONVERSATION = Dialect("/conversations", operation="conversation", names_model=False)
# The upstream's model is one that chats; for vectors the client says which it needs.
EMBEDDINGS = Dialect("/embeddings", operation="embeddings", names_model=False)
MESSAGE = _anthropic("/messages", "chat")
COUNT = _anthropic("/messages/count_tokens", "count_tokens")
