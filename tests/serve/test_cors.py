"""Web pages of other origins, named by the operator or not, under the rules of a browser's fetch."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from tests.support.fake_upstream import DONE, FakeUpstream, answer, delta, stream
from tests.support.running import Running, running, settings_for

from pointsman.errors import SettingsError
from pointsman.serve.routes import PUBLIC

USER = "u-3f9a1c77b2d84e5f9a0b1c2d3e4f5a6b"
PAGE = "https://app.example"
ALLOW = "access-control-allow-origin"
ASK_FIRST = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,x-a"}
OTHERS = [
    "https://app.example.evil",
    "https://app.example:8443",
    "http://app.example",
    "null",
    "https://APP.example",
]


@pytest.fixture(scope="module", params=["open", "keys"])
def gateway(request: pytest.FixtureRequest, artifact: Path) -> Iterator[Running]:
    auth = {"keys": [USER]} if request.param == "keys" else {}
    server = {"cors_origins": ["https://App.example:443/", "tauri://localhost"]}
    with running(settings_for(artifact, server=server, auth=auth)) as made:
        yield made


def page(origin: str = PAGE, **more: str) -> dict[str, str]:
    return {"origin": origin, "sec-fetch-site": "cross-site", **more}


@pytest.mark.parametrize("route", PUBLIC, ids=lambda route: f"{route.method} {route.path}")
def test_a_preflight_needs_no_key_on_any_route(gateway: Running, route: object) -> None:
    path = route.path.replace("{", "").replace("}", "")  # type: ignore[attr-defined]
    found = gateway.http.options(path, headers=page() | ASK_FIRST)
    assert (found.status_code, found.headers[ALLOW], found.content) == (204, PAGE, b"")
    assert found.headers["access-control-allow-headers"] == "authorization,x-a"
    assert {"GET", "POST"} <= set(found.headers["access-control-allow-methods"].split(", "))
    assert "access-control-allow-credentials" not in found.headers


@pytest.mark.parametrize("origin", [PAGE, "tauri://localhost"])
def test_a_named_page_reads_answers_and_errors(gateway: Running, origin: str) -> None:
    key = {"api-key": USER}
    for path, body, headers, status in (
        ("/predict", {"query": "plan"}, key, 200),
        ("/predict", {"query": 3}, key, 400),
        ("/nowhere", {}, key, 404),
        ("/live.json", {}, key, 405),
        ("/predict", {"query": "x" * 600_000}, key, 413),
        ("/v1/chat/completions", {"messages": []}, key, 503),
        ("/predict", {"query": "plan"}, {}, 401 if gateway.gateway.access.users else 200),
    ):
        found = gateway.http.post(path, json=body, headers=page(origin) | headers)
        assert (found.status_code, found.headers[ALLOW]) == (status, origin), path
        assert found.headers["vary"] == "origin"
        assert found.headers["access-control-expose-headers"] == "*"


@pytest.mark.parametrize("origin", OTHERS)
def test_no_other_page_may_ask_or_read(gateway: Running, origin: str) -> None:
    preflight = gateway.http.options("/predict", headers=page(origin) | ASK_FIRST)
    assert preflight.status_code == 405
    asked = gateway.http.post("/predict", json={"query": "plan"}, headers=page(origin))
    assert asked.status_code == (401 if gateway.gateway.access.users else 403)
    for found in (preflight, asked):
        assert ALLOW not in found.headers
        assert found.headers["vary"] == "origin"


def test_a_named_page_by_a_name_that_leads_here_is_refused(gateway: Running) -> None:
    found = gateway.http.get("/info", headers=page(host="evil.example"))
    assert found.status_code == (401 if gateway.gateway.access.users else 403)


def test_two_origins_and_none_name_no_page(gateway: Running) -> None:
    refused = 401 if gateway.gateway.access.users else 403
    twice = [("origin", PAGE), ("origin", "https://evil.example")]
    for headers in (twice, twice[::-1], [("sec-fetch-site", "cross-site")]):
        found = gateway.http.get("/info", headers=headers)
        assert found.status_code == refused
        assert ALLOW not in found.headers


def test_the_admin_address_has_no_other_pages(gateway: Running) -> None:
    preflight = gateway.admin.options("/admin/reload", headers=page() | ASK_FIRST)
    asked = gateway.admin.get("/admin/state", headers=page())
    assert (preflight.status_code, asked.status_code) == (405, 403)
    assert ALLOW not in preflight.headers.keys() | asked.headers.keys()


def test_it_is_off_by_default(plain: Running) -> None:
    found = plain.http.options("/predict", headers=page() | ASK_FIRST)
    assert found.status_code == 405
    assert not {ALLOW, "vary"} & found.headers.keys()


def test_streams_may_be_read_too(
    both: Callable[..., Running], local: FakeUpstream, cloud: FakeUpstream
) -> None:
    local.script = cloud.script = stream([delta("x"), DONE])
    gateway = both(server={"cors_origins": ["*"]}, auth={"keys": [USER]})
    headers = page("https://any.example", authorization=f"Bearer {USER}")
    assert gateway.chat(stream=True, headers=headers).headers[ALLOW] == "https://any.example"
    # What every sandboxed page says names nobody.
    assert ALLOW not in gateway.chat(headers=page("null", authorization=f"Bearer {USER}")).headers
    cloud.script = answer(429)
    assert gateway.chat(headers=headers).headers[ALLOW] == "https://any.example"


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "app.example",
        "https://app.example/path",
        "https://",
        "null",
        "https://*.app.example",
        "https://a b",
    ],
)
def test_what_names_no_origin_is_refused_at_the_start(artifact: Path, origin: str) -> None:
    with pytest.raises(SettingsError, match="cors_origins"):
        settings_for(artifact, server={"cors_origins": [origin]})


def test_a_private_network_is_answered_for(gateway: Running) -> None:
    asked = page() | ASK_FIRST | {"access-control-request-private-network": "true"}
    found: httpx.Response = gateway.http.options("/predict", headers=asked)
    assert found.headers["access-control-allow-private-network"] == "true"
