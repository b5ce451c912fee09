"""What an operator can set of the two services that answer chats."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from pointsman.serve.setting_values import Count, Part, Price, Seconds, headers_by_name, service_address


class UpstreamSettings(Part):
    """One service that speaks OpenAI's protocol, Anthropic's, or both."""

    url: str = Field(description="base address up to and with /v1; for Azure the resource's address")
    model: str | None = Field(default=None, description="model name in requests to it; none: no name")
    api: Literal["openai", "azure", "anthropic", "both"] = Field(
        default="openai",
        description="its protocol; azure: deployment paths and `api-key`; both: OpenAI's and Anthropic's",
    )
    api_version: str = Field(default="2024-10-21", description="Azure's api-version")
    api_key: SecretStr | None = Field(
        default=None, description="its key; better by api_key_env or api_key_file"
    )
    api_key_env: str | None = Field(default=None, description="the environment variable that holds its key")
    api_key_file: Path | None = Field(default=None, description="the file that holds its key")
    headers: dict[str, SecretStr] = Field(
        default={}, description="further headers of every request to it: a table of names and values"
    )
    headers_env: dict[str, str] = Field(
        default={},
        description="the same: a table of header names and of the environment variables with the values",
    )
    connect_timeout_s: Seconds = Field(default=2.0, description="seconds to connect")
    first_byte_timeout_s: Seconds = Field(default=60.0, description="seconds to the first byte of the answer")
    idle_timeout_s: Seconds = Field(default=30.0, description="seconds between two pieces of an answer")
    retries: int = Field(
        default=1, ge=0, le=3, description="retries after a refused connection, within the retry budget"
    )
    breaker_failures: Count = Field(default=5, description="failures in a row that open the circuit breaker")
    breaker_open_s: Seconds = Field(
        default=5.0, description="seconds between two probes while the circuit breaker is open"
    )
    price_in: Price = Field(default=0.0, description="upstreams.currency per million prompt tokens")
    price_cached: Price | None = Field(
        default=None,
        description="upstreams.currency per million prompt tokens from its cache; default: price_in",
    )
    price_out: Price = Field(default=0.0, description="upstreams.currency per million completion tokens")

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        return service_address(url)

    @field_validator("headers", "headers_env")
    @classmethod
    def _are_headers(cls, headers: dict[str, Any]) -> dict[str, Any]:
        return headers_by_name(headers)

    @model_validator(mode="after")
    def _headers_are_named_once(self) -> Self:
        names = {*self.headers, *self.headers_env}
        if len(names) < len(self.headers) + len(self.headers_env):
            raise ValueError("a header is named in headers and in headers_env")
        if names & {"authorization", "api-key"} and (self.api_key or self.api_key_env or self.api_key_file):
            raise ValueError("a key is given, and a header that stands for one")
        return self

    @model_validator(mode="after")
    def _has_the_model_that_its_api_needs(self) -> Self:
        if self.api == "azure" and not self.model:
            raise ValueError("azure: set model to the deployment's name")
        if self.api == "anthropic" and not self.model:
            raise ValueError("anthropic: set model; its API answers no request without one")
        return self


class UpstreamsSettings(Part):
    """The two services; a gateway without any only classifies."""

    currency: str = Field(default="USD", max_length=20, description="unit of price_in and price_out")
    local: UpstreamSettings | None = None
    cloud: UpstreamSettings | None = None
