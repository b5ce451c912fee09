"""How one upstream is called, over a transport of the test's own: no socket."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry
from pydantic import ValidationError

from pointsman.errors import SettingsError
from pointsman.serve.observability.metrics import Metrics
from pointsman.serve.settings import GatewaySettings
from pointsman.serve.upstream.transport import Headers, NotConnectedError, Response
from pointsman.serve.upstream.upstreams import CallFailedError, Upstream, Upstreams
from pointsman.serve.upstream_settings import UpstreamSettings, UpstreamsSettings


class Unreachable:
    """A transport that never connects."""

    def __init__(self) -> None:
        self.targets: list[bytes] = []
        self.headers: Headers = ()
        self.closed = 0

    async def send(
        self, target: bytes, headers: Headers, body: bytes, connect_timeout_s: float, method: str
    ) -> Response:
        self.targets.append(target)
        self.headers = headers
        raise NotConnectedError("no route")

    def close(self) -> None:
        self.closed += 1


def test_a_connection_that_never_stood_is_tried_again_as_often_as_the_settings_say() -> None:
    transport, metrics = Unreachable(), Metrics(CollectorRegistry())
    settings = UpstreamSettings(url="http://127.0.0.1:9/v1", retries=2)
    upstream = Upstream("cloud", settings, metrics, transport)
    with pytest.raises(CallFailedError, match="unreachable"):
        asyncio.run(upstream.call("/chat/completions", b"{}", {}))
    assert transport.targets == [b"/v1/chat/completions"] * 3
    labels = {"upstream": "cloud", "outcome": "unreachable"}
    assert metrics.registry.get_sample_value("pointsman_upstream_calls_total", labels) == 3


def headers_sent(**settings: object) -> dict[bytes, bytes]:
    transport = Unreachable()
    upstream = Upstream(
        "cloud",
        UpstreamSettings.model_validate({"url": "http://127.0.0.1:9/v1", "retries": 0, **settings}),
        Metrics(CollectorRegistry()),
        transport,
    )
    of_client = {b"accept": b"text/plain", b"openai-beta": b"theirs", b"cookie": b"no"}
    with pytest.raises(CallFailedError):
        asyncio.run(upstream.call("/chat/completions", b"{}", of_client))
    sent = list(transport.headers)
    assert len(sent) == len(dict(sent))
    return dict(sent)


def test_the_operators_headers_are_sent_and_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_TOKEN", "token-7")
    sent = headers_sent(
        headers={"X-Tenant": "blue", "OpenAI-Beta": "ours", "user-agent": "mine"},
        headers_env={"authorization": "GATEWAY_TOKEN"},
    )
    assert (sent[b"x-tenant"], sent[b"openai-beta"], sent[b"user-agent"]) == (b"blue", b"ours", b"mine")
    assert (sent[b"authorization"], sent[b"accept"]) == (b"token-7", b"text/plain")
    assert b"cookie" not in sent


@pytest.mark.parametrize(
    "settings",
    [
        {"headers": {"host": "x"}},
        {"headers": {"Content-Length": "3"}},
        {"headers": {"a b": "x"}},
        {"headers": {"a:": "x"}},
        {"headers": {"": "x"}},
        {"headers": {"x-a": "1", "X-A": "2"}},
        {"headers": {"x-a": "1"}, "headers_env": {"X-A": "VARIABLE"}},
        {"headers": {"Authorization": "x"}, "api_key_env": "VARIABLE"},
        {"headers": {"x-a": "secret\r\nx-b: 1"}},
        {"headers": {"x-a": ""}},
        {"headers": {"x-a": "\u2603"}},
        {"headers_env": {"x-a": "POINTSMAN_NOT_SET"}},
    ],
    ids=str,
)
def test_headers_that_cannot_be_sent_are_refused_without_their_value(settings: dict[str, object]) -> None:
    with pytest.raises((ValidationError, SettingsError)) as refused:
        headers_sent(**settings)
    assert "secret" not in str(refused.value)


def test_each_upstream_gets_a_transport_to_its_own_address() -> None:
    made: dict[str, Unreachable] = {}

    def open_transport(url: str) -> Unreachable:
        return made.setdefault(url, Unreachable())

    local, cloud = (UpstreamSettings(url=f"http://127.0.0.1:{port}/v1") for port in (9, 10))
    settings = GatewaySettings(upstreams=UpstreamsSettings(local=local, cloud=cloud))
    both = Upstreams(settings, Metrics(CollectorRegistry()), open_transport)
    assert set(made) == {local.url, cloud.url}
    both.close()
    assert [transport.closed for transport in made.values()] == [1, 1]
