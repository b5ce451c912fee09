"""A port that is taken: the flag that sets it is named, and a demo takes another one for its admin routes."""

import socket
from collections.abc import Iterator

import pytest

from pointsman.errors import SettingsError
from pointsman.serve.edge import listening
from pointsman.serve.edge.listening import listen, listen_admin, shown_address
from pointsman.serve.settings import GatewaySettings, ServerSettings


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as held:
        yield held.getsockname()[1]


@pytest.mark.parametrize("flag", ["--port", "--admin-port"])
def test_the_flag_is_named(taken: int, flag: str) -> None:
    with pytest.raises(SettingsError, match=rf"127\.0\.0\.1:{taken}: Address already in use\. Set {flag}"):
        listen("127.0.0.1", taken, flag)


@pytest.mark.parametrize("is_demo", [True, False])
def test_an_admin_port_that_was_asked_for_is_never_another_one(taken: int, is_demo: bool) -> None:
    with pytest.raises(SettingsError, match="--admin-port"):
        listen_admin(GatewaySettings(demo=is_demo, server=ServerSettings(admin_port=taken)))


def test_a_demo_takes_a_free_admin_port(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    default = GatewaySettings().server.admin_port
    real = listen
    monkeypatch.setattr(
        listening, "listen", lambda host, port, *flag: real(host, taken if port == default else port, *flag)
    )
    found = listen_admin(GatewaySettings(demo=True))
    assert found is not None
    with found:
        assert found.getsockname()[1] not in (taken, default)
    with pytest.raises(SettingsError):
        listen_admin(GatewaySettings())


def test_no_admin_routes_need_no_port() -> None:
    assert listen_admin(GatewaySettings(server=ServerSettings(admin_port=None))) is None


@pytest.mark.parametrize("host", ["a..b", "a" * 64, "no-such-name.invalid"])
def test_a_host_that_is_none_is_said(host: str) -> None:
    with pytest.raises(SettingsError, match=rf"cannot listen on {host}:0: .*\. Set --host\."):
        listen(host, 0)


@pytest.mark.parametrize(
    ("host", "shown"), [("::1", "[::1]:1"), ("[::1]", "[::1]:1"), ("127.0.0.1", "127.0.0.1:1"), ("a", "a:1")]
)
def test_an_address_of_ipv6_stands_in_brackets_in_a_url_only(host: str, shown: str) -> None:
    assert shown_address(ServerSettings(host=host).host, 1) == shown
