"""How one upstream is called, over a transport of the test's own: no socket."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from pointsman.serve.observability.metrics import Metrics
from pointsman.serve.settings import GatewaySettings, UpstreamSettings, UpstreamsSettings
from pointsman.serve.upstream.transport import Headers, NotConnectedError, Response
from pointsman.serve.upstream.upstreams import CallFailedError, Upstream, Upstreams


class Unreachable:
    """A transport that never connects."""

    def __init__(self) -> None:
        self.targets: list[bytes] = []
        self.closed = 0

    async def post(self, target: bytes, headers: Headers, body: bytes, connect_timeout_s: float) -> Response:
        self.targets.append(target)
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
