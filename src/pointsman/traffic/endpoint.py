"""One OpenAI-compatible service that is asked for answers or verdicts, and what it costs."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

CHARS_PER_TOKEN = 4.0
"""Of English, about: for estimates, and for answers whose token counts are not reported."""

Messages = Sequence[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a model is asked.

    Attributes:
        url: base address up to and with /v1; for Azure the resource's address.
        model: the model's name there.
        key: the API key; never shown, never stored.
        price_in: money per million prompt tokens; None where it is not known.
        price_out: money per million completion tokens; None where it is not known.
        azure_version: the api-version of an Azure service; None for any other.
        timeout_s: until a whole answer is there.
        connect_s: until the connection stands.
        headers: further ones of every request; never shown, never stored.
    """

    url: str
    model: str
    key: str = field(default="", repr=False)
    price_in: float | None = None
    price_out: float | None = None
    azure_version: str | None = None
    timeout_s: float = 120.0
    connect_s: float = 5.0
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def cost(self, tokens_in: float, tokens_out: float) -> float | None:
        """Money for a number of tokens, in the unit of the prices; None without prices."""
        if self.price_in is None or self.price_out is None:
            return None
        return (tokens_in * self.price_in + tokens_out * self.price_out) / 1e6


@dataclass(frozen=True, slots=True)
class Call:
    """One question to one endpoint.

    Attributes:
        query: id of the row that it belongs to.
        role: what the answer is: `local`, `cloud`, or the name of a verdict.
        sample: number of the answer, from 0, where one question is asked several times.
        messages: what is sent.
        parameters: other members of the request, such as `temperature`.
    """

    query: str
    role: str
    sample: int
    endpoint: Endpoint
    messages: Messages
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Digest of everything that the answer depends on: two equal calls are paid once."""
        known = [self.endpoint.url, self.endpoint.model, dict(self.parameters), list(self.messages)]
        text = json.dumps([*known, self.sample], sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def tokens_in(self) -> float:
        """Prompt tokens, about."""
        said = [*(m.get("content") for m in self.messages), *self.parameters.values()]
        return tokens_of(json.dumps(said, ensure_ascii=False))


def tokens_of(text: str) -> float:
    """Tokens of a text, about."""
    return len(text) / CHARS_PER_TOKEN
