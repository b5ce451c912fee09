"""What an operator can set: the one list of keys, their units, ranges and defaults.

This file knows what may be said; `settings_loader` knows where it is said (flags, environment, `.env`, TOML).
Everything is frozen; an unknown key is an error; secrets are masked wherever they are printed. It has more
than 300 lines, because a reader looks up every key in one place; the tables of upstreams and of traffic stand
beside it.
"""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from pointsman.serve.setting_values import (
    Count,
    Part,
    Seconds,
    Share,
    Target,
    linear_pattern,
    web_origin,
)
from pointsman.serve.traffic_settings import BudgetSettings, CaptureSettings, ShadowSettings
from pointsman.serve.upstream_settings import UpstreamsSettings


class ServerSettings(Part):
    """Where the gateway listens, and how it stops."""

    host: str = Field(
        default="127.0.0.1", description="address to listen on; beyond loopback an API key is required"
    )
    port: int = Field(default=8000, ge=0, le=65_535, description="port to listen on; 0 takes a free one")
    hosts: tuple[str, ...] = Field(
        default=(),
        description="without keys: host names to answer to, beside `localhost` and addresses",
    )
    cors_origins: tuple[str, ...] = Field(
        default=(),
        description="origins of web pages that may ask, such as `https://app.example`; `*` with keys only",
    )
    admin_host: str = Field(default="127.0.0.1", description="address of the admin routes and of /metrics")
    admin_port: int | None = Field(
        default=8001,
        ge=0,
        le=65_535,
        description="port of the admin routes; 0 takes a free one, none turns them off",
    )
    admin_may_fetch: bool = Field(
        default=False,
        description="let the admin routes name any artifact on the Hub, not only what is set here",
    )
    workers: int = Field(
        default=1,
        ge=1,
        le=64,
        description="processes that answer from one port; each has its own model, queue, cache and breakers",
    )
    drain_delay_s: float = Field(
        default=0.5,
        ge=0,
        le=600,
        description="seconds after SIGTERM during which readiness fails but connections are still accepted",
    )
    grace_s: float = Field(
        default=30.0, ge=0, le=3600, description="seconds after that in which running requests may end"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="lowest level of the log lines (JSON on standard error)"
    )
    traces: bool = Field(
        default=False,
        description="OpenTelemetry spans by OTLP over HTTP (extra `otel`); `OTEL_*` variables say where to",
    )
    page: bool = Field(default=True, description="serve the page at /")
    history: Path | None = Field(
        default=None,
        description="file (SQLite) of figures by the hour, for the page and the budget; none: in memory",
    )
    show_text: bool = Field(
        default=False, description="let the page's list of recent decisions show their text"
    )

    @property
    def own_names(self) -> frozenset[str]:
        """Names, in small letters, that a browser may ask for."""
        return frozenset(name.lower().rstrip(".") for name in self.hosts)

    @field_validator("host", "admin_host")
    @classmethod
    def _without_brackets(cls, host: str) -> str:
        return host.removeprefix("[").removesuffix("]")

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(web_origin(origin) for origin in origins)

    @field_validator("admin_port", mode="before")
    @classmethod
    def _may_be_off(cls, port: object) -> object:
        return None if port == "none" else port


class InferenceSettings(Part):
    """The router and how it is run."""

    artifact: Path | None = Field(
        default=None,
        description="an artifact's directory, or `REGISTRY/<alias>`; default: the shipped router",
    )
    variant: str | None = Field(
        default=None, description="which ONNX file of the artifact: int8, folded, plain, fp16"
    )
    threads: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="batches of the model that run side by side; default: the processors of this process",
    )
    max_batch: Count = Field(default=32, le=1024, description="texts in one run of the model at most")
    batch_tokens: Count = Field(
        default=192,
        le=65536,
        description="tokens in one run of the model at most, about; a longer text goes alone",
    )
    batch_wait_ms: float = Field(
        default=0.0,
        ge=0,
        le=100,
        description="milliseconds to wait for a batch to fill; 0 runs what is queued",
    )
    cache_size: int = Field(
        default=4096, ge=0, description="recent decisions kept, by keyed hash of the text; 0: none"
    )
    canary_artifact: Path | None = Field(default=None, description="a second artifact, to compare")
    canary_share: Share = Field(
        default=0.0, description="share of the texts that the second artifact decides"
    )
    shadow: bool = Field(default=False, description="only count what the second artifact would decide")


class Rule(Part):
    """A rule before the model: where every given condition holds, `send` is done. The first match wins."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$", description="shown in the reason and in metrics")
    send: Literal["local", "cloud", "local-only", "cloud-only"] = Field(
        description="where the request goes; with `-only`, the other upstream never gets it"
    )
    keywords: tuple[str, ...] = Field(
        default=(), description="any of these words or phrases is in the request's text"
    )
    pattern: str | None = Field(
        default=None, description="this regular expression (RE2) is found in the request's text"
    )
    min_chars: int | None = Field(
        default=None, ge=0, description="the request's text has at least this many characters"
    )
    max_chars: int | None = Field(
        default=None, ge=0, description="the request's text has at most this many characters"
    )
    has_tools: bool | None = Field(default=None, description="tools or functions are given")
    has_images: bool | None = Field(default=None, description="an image, a file or audio is among the parts")
    tag: str | None = Field(
        default=None, min_length=1, description="the header x-pointsman-tags has this tag"
    )

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            linear_pattern(pattern)
        return pattern

    @model_validator(mode="after")
    def _has_a_condition(self) -> Self:
        given = self.model_dump(exclude={"name", "send"}, exclude_defaults=True)
        if not given:
            raise ValueError("a rule needs at least one condition")
        if self.min_chars is not None and self.max_chars is not None and self.min_chars > self.max_chars:
            raise ValueError("min_chars is above max_chars, so no text can match")
        return self


class RoutingSettings(Part):
    """Thresholds, rules, and what may happen when something breaks."""

    cloud_threshold: Share | None = Field(
        default=None,
        description="a p_cloud of at least this goes to the cloud; alone, it turns the confidence rule off",
    )
    confidence_threshold: Share | None = Field(
        default=None, description="the target that is not the safe one needs a probability of at least this"
    )
    safe_target: Target | None = Field(
        default=None, description="target of doubtful and of unreadable queries"
    )
    default_target: Target = Field(
        default="local", description="who answers a chat when the classifier fails or has no time"
    )
    embeddings: Target | None = Field(
        default=None, description="upstream that answers `/v1/embeddings`; rules read its text, too"
    )
    aliases: dict[str, Literal["auto", "local", "cloud"]] = Field(
        default={}, description="further model names that mean auto, local or cloud"
    )
    unknown_model: Literal["refuse", "auto"] = Field(
        default="refuse", description="a model name that means nothing here: an error, or the router decides"
    )
    fallback: tuple[Literal["local-to-cloud", "cloud-to-local"], ...] = Field(
        default=(), description="which upstream may answer when the other fails; none by default"
    )
    hedge_after_s: Seconds | None = Field(
        default=None,
        description="seconds without a first byte, then the fallback is asked as well (hedging); none: off",
    )
    rules: tuple[Rule, ...] = Field(default=(), description="rules before the model, in order")
    budget: BudgetSettings = BudgetSettings()
    background: Literal["local", "cloud", "router"] = Field(
        default="local",
        description="who answers what a front-end asks on its own (titles, tags): local, cloud or router",
    )
    sticky: bool = Field(default=False, description="a conversation stays with the target of its first turn")
    sticky_ttl_s: Seconds = Field(
        default=3600.0, description="seconds after its last turn until a conversation is forgotten"
    )
    stream_keepalive_s: float = Field(
        default=15.0,
        ge=0,
        le=3600,
        description="seconds of silence after which a stream gets an SSE comment; 0: never",
    )
    show_upstream_errors: bool = Field(
        default=False,
        description="show the beginning of an upstream's error in the answer, as in the log",
    )
    stream_decision: Literal["event", "comment", "off"] = Field(
        default="event",
        description="a stream's decision: event, in its first chunk; comment, an SSE comment; off, nowhere",
    )

    @field_validator("rules")
    @classmethod
    def _have_names_of_their_own(cls, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
        if len({rule.name for rule in rules}) < len(rules):
            raise ValueError("two rules have one name, so no reason and no metric can tell them apart")
        return rules

    @model_validator(mode="after")
    def _hedging_has_a_fallback(self) -> Self:
        if self.hedge_after_s is not None and not self.fallback:
            raise ValueError("hedge_after_s: a slow upstream's chat goes to its fallback; set fallback, too")
        return self


class DecisionSettings(Part):
    """Questions that other gateways may ask at `/v1/systemone` and `/v1/decisions`."""

    bands: dict[str, Share] = Field(
        default={},
        description="bands of p_cloud that a question may choose from: name to upper edge, rising to 1.0",
    )

    @field_validator("bands")
    @classmethod
    def _rise_to_one(cls, bands: dict[str, float]) -> dict[str, float]:
        edges = list(bands.values())
        if edges and (len(edges) < 2 or edges[0] <= 0.0 or edges[-1] != 1.0 or sorted(set(edges)) != edges):
            raise ValueError("expected at least two bands with rising upper edges above 0, the last 1.0")
        if len({name.casefold() for name in bands}) != len(bands):
            raise ValueError("two bands have one name")
        return bands


class LimitSettings(Part):
    """What one request, one client and all of them may take."""

    body_bytes: Count = Field(default=16 * 2**20, description="largest body of a chat")
    text_body_bytes: Count = Field(default=512 * 2**10, description="largest body of a classification")
    header_bytes: Count = Field(default=32 * 2**10, description="all header names and values together")
    header_count: Count = Field(default=100, description="headers of one request")
    header_timeout_s: Seconds = Field(
        default=10.0, description="seconds for the headers; then the connection is closed"
    )
    body_timeout_s: Seconds = Field(default=30.0, description="seconds for the body; then 408")
    batch: Count = Field(default=32, description="texts in one classification request at most")
    batch_chars: Count = Field(
        default=131_072, description="characters in all texts of one classification request at most"
    )
    answer_bytes: Count = Field(default=64 * 2**20, description="largest answer taken from an upstream")
    memory_bytes: Count = Field(
        default=256 * 2**20,
        description="bytes of the bodies and answers of all requests; a request beyond gets 503",
    )
    write_timeout_s: Seconds = Field(
        default=30.0, description="seconds after which a client that reads nothing of its answer is cut off"
    )
    queue: Count = Field(
        default=64,
        description="texts that may wait for the model; one more, or one with a long wait, gets 503",
    )
    queue_timeout_ms: float = Field(
        default=150.0, gt=0, le=60_000, description="milliseconds after which a waiting text gets 503"
    )
    chats: Count = Field(default=2048, description="chats in flight; more get 503 at once")
    deadline_s: Seconds = Field(
        default=300.0, description="one deadline for a whole chat, classification included"
    )
    requests_per_s: float = Field(
        default=0.0, ge=0, description="requests a second of one key or address; 0: no limit"
    )
    burst: Count = Field(default=20, description="requests that a client may send at once")


class AuthSettings(Part):
    """Who may ask. Keys are kept as SHA-256 only."""

    keys: tuple[SecretStr, ...] = Field(default=(), description="API keys, at least 32 characters each")
    keys_file: Path | None = Field(default=None, description="a file of `name sha256:<64 hex digits>` lines")
    admin_keys: tuple[SecretStr, ...] = Field(
        default=(), description="keys for the admin routes and /metrics"
    )
    admin_keys_file: Path | None = Field(default=None, description="a file of such lines for the admin keys")
    by_proxy: bool = Field(
        default=False,
        description="a proxy in front checks every caller: listen beyond loopback without `auth.keys`",
    )

    @model_validator(mode="after")
    def _one_of_them_checks(self) -> Self:
        if self.by_proxy and (self.keys or self.keys_file):
            raise ValueError(
                "either a proxy checks the callers (by_proxy) or the gateway does (keys), not both"
            )
        return self


class GatewaySettings(Part):
    """Everything that `pointsman serve` can be told."""

    server: ServerSettings = ServerSettings()
    inference: InferenceSettings = InferenceSettings()
    routing: RoutingSettings = RoutingSettings()
    decisions: DecisionSettings = DecisionSettings()
    limits: LimitSettings = LimitSettings()
    auth: AuthSettings = AuthSettings()
    upstreams: UpstreamsSettings = UpstreamsSettings()
    capture: CaptureSettings = CaptureSettings()
    shadow: ShadowSettings = ShadowSettings()
    demo: bool = Field(
        default=False, description="start two small echo upstreams, so that the whole path can be tried"
    )

    @model_validator(mode="after")
    def _a_budget_needs_prices(self) -> Self:
        cloud, shadow = self.upstreams.cloud, self.shadow
        if shadow.answers and (self.capture.path is None or not shadow.budget):
            raise ValueError("shadow.answers: set capture.path, where pairs are kept, and shadow.budget")
        if (self.routing.budget.amount is None and not shadow.answers) or self.demo:
            return self
        if self.upstreams.local is None or cloud is None or not cloud.price_in + cloud.price_out > 0:
            raise ValueError(
                "routing.budget and shadow.budget: expected both upstreams, and the cloud's price_in and "
                "price_out; without prices no money can be counted"
            )
        return self

    @model_validator(mode="after")
    def _any_page_needs_a_key(self) -> Self:
        has_keys = self.auth.keys or self.auth.keys_file or self.auth.by_proxy
        if "*" in self.server.cors_origins and not has_keys:
            raise ValueError(
                "server.cors_origins: any page may ask only where a key is needed; set auth.keys"
            )
        return self
