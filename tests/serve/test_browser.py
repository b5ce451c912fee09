"""Web pages elsewhere, and names that lead here, against a gateway without keys."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from tests.serve.test_limits import raw
from tests.support.running import Running, running, settings_for

from pointsman.serve.routes import ADMIN, PUBLIC

USER = "u-3f9a1c77b2d84e5f9a0b1c2d3e4f5a6b"

PORT = ":{port}"
OWN_HOSTS = [
    "localhost",
    "LOCALHOST",
    "localhost.",
    "app.localhost",
    "127.0.0.1",
    "127.9.9.9",
    "[::1]",
    "[::ffff:7f00:1]",
]
FOREIGN_HOSTS = [
    "evil.example",
    "127.0.0.1.nip.io",
    "localhost.evil.example",
    "localhost..",
    "localhost@evil.example",
    "evil.example:80@localhost",
    "2130706433",
    "0x7f.1",
    "router",
    "[::1].evil.example",
    "[::1",
    "",
]
FOREIGN = [
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "http://localhost:1"},
    {"origin": "http://127.0.0.1:{port}", "host": "localhost:{port}"},
    {"origin": "http://localhost.:{port}", "host": "localhost:{port}"},
    {"origin": "http://localhost:{port}.evil.example"},
    {"origin": "file://"},
    {"origin": "chrome-extension://abcdefgh"},
    {"origin": "ftp://localhost:{port}"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "cross-site", "origin": "http://localhost:{port}"},
    {"host": "evil.example", "origin": "http://evil.example"},
    {"host": "evil.example", "x-forwarded-host": "localhost", "forwarded": "host=localhost"},
]


@pytest.fixture(scope="module")
def open_gateway(artifact: Path) -> Iterator[Running]:
    with running(settings_for(artifact)) as made:
        yield made


def status(client: httpx.Client, method: str, path: str, headers: dict[str, str]) -> int:
    port = str(client.base_url.port)
    told = {"host": f"localhost:{port}", "content-type": "application/json"}
    told |= {name: value.replace("{port}", port) for name, value in headers.items()}
    body = b'{"query": "plan", "inputs": "plan", "artifact": "/nowhere"}' if method == "POST" else None
    return client.request(method, path, headers=told, content=body).status_code


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
@pytest.mark.parametrize("table", [PUBLIC, ADMIN], ids=["user", "admin"])
def test_a_page_elsewhere_is_refused_on_every_route(
    open_gateway: Running, table: tuple[object, ...], headers: dict[str, str]
) -> None:
    version = open_gateway.gateway.engine.current.version
    client = open_gateway.http if table is PUBLIC else open_gateway.admin
    for route in table:
        path = route.path.replace("{", "").replace("}", "")
        found = status(client, route.method, path, headers)
        assert (found == 403) is (route.access != "open"), path
    assert open_gateway.gateway.engine.current.version == version


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
@pytest.mark.parametrize("port", ["", PORT])
def test_names_that_lead_here_are_refused(open_gateway: Running, host: str, port: str) -> None:
    for client, path in ((open_gateway.http, "/live.json"), (open_gateway.admin, "/admin/state")):
        assert status(client, "GET", path, {"host": host + port}) in (400, 403)


@pytest.mark.parametrize("host", OWN_HOSTS)
@pytest.mark.parametrize("port", ["", PORT])
def test_the_own_page_and_programs_get_in(open_gateway: Running, host: str, port: str) -> None:
    name = host.lower() + port
    page = {"host": host + port, "origin": f"http://{name}", "sec-fetch-site": "same-origin"}
    for headers in ({"host": host + port}, page, {**page, "origin": f"https://{name}"}):
        assert status(open_gateway.http, "POST", "/predict", headers) == 200
        assert status(open_gateway.admin, "GET", "/admin/state", headers) == 200


def test_two_hosts_are_refused(open_gateway: Running) -> None:
    for hosts in (("localhost", "evil.example"), ("evil.example", "localhost"), ("localhost", "localhost")):
        lines = "".join(f"host: {host}\r\n" for host in hosts)
        found = raw(open_gateway.port, f"GET /live.json HTTP/1.1\r\n{lines}\r\n".encode())
        assert found.startswith((b"HTTP/1.1 400", b"HTTP/1.1 403"))


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_a_body_is_announced_as_json(open_gateway: Running, kind: str | None) -> None:
    """A page elsewhere may send any other kind, and none, without asking first."""
    headers = {} if kind is None else {"content-type": kind}
    for client, table in ((open_gateway.http, PUBLIC), (open_gateway.admin, ADMIN)):
        for route in table:
            if route.method == "POST":
                path = route.path.replace("{", "").replace("}", "")
                assert client.post(path, content=b"{}", headers=headers).status_code in (403, 404, 415), path


def test_names_of_the_operator(artifact: Path, start: Callable[..., Running]) -> None:
    gateway = start(settings_for(artifact, server={"hosts": ["Router.example", "proxy.example:8443"]}))
    for headers, expected in (
        ({"host": "router.example"}, 200),
        ({"host": "router.example", "origin": "https://router.example"}, 200),
        ({"origin": "https://router.example"}, 200),
        ({"origin": "https://proxy.example:8443"}, 200),
        ({"origin": "https://router.example:1"}, 403),
        ({"host": "other.example"}, 403),
    ):
        assert status(gateway.http, "GET", "/live.json", headers) == expected, headers


def test_a_key_is_what_no_page_elsewhere_has(artifact: Path, start: Callable[..., Running]) -> None:
    gateway = start(settings_for(artifact, auth={"keys": [USER]}))
    headers = {"host": "evil.example", "origin": "https://evil.example", "sec-fetch-site": "cross-site"}
    assert status(gateway.http, "GET", "/info", headers) == 401
    assert status(gateway.http, "GET", "/info", {**headers, "api-key": USER}) == 200
    # The admin address has no key here.
    assert status(gateway.admin, "GET", "/admin/state", headers) == 403
