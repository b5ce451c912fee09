from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.running import Running, settings_for

from pointsman.errors import SettingsError
from pointsman.serve.dispatch import Route
from pointsman.serve.edge.keys import check_exposure, hashed_line, load_access
from pointsman.serve.routes import ADMIN, PUBLIC

USER = "u-3f9a1c77b2d84e5f9a0b1c2d3e4f5a6b"
BOSS = "a-91c3e5f7092b4d6f8a1c3e5f7092b4d6"


@pytest.fixture(scope="module")
def locked(artifact: Path) -> object:
    from tests.support.running import running

    auth = {"keys": [USER], "admin_keys": [BOSS]}
    with running(settings_for(artifact, auth=auth)) as made:
        yield made


def path_of(route: Route) -> str:
    return route.path.replace("{", "").replace("}", "")


@pytest.mark.parametrize("route", [*PUBLIC, *ADMIN], ids=lambda route: f"{route.method} {route.path}")
def test_every_route_is_open_or_asks_for_its_key(locked: Running, route: Route) -> None:
    client = locked.http if route in PUBLIC else locked.admin

    def status(key: str | None) -> int:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return client.request(route.method, path_of(route), headers=headers).status_code

    if route.access == "open":
        assert status(None) not in (401, 403)
        return
    assert status(None) == status("x" * 40) == status(USER[:-1]) == 401
    assert status(BOSS) not in (401, 403)
    assert (status(USER) == 403) is (route.access == "admin")


@pytest.mark.parametrize("header", ["api-key", "x-api-key"])
def test_other_headers_for_a_key(locked: Running, header: str) -> None:
    assert locked.http.get("/v1/models", headers={header: USER}).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["//v1/models", "/v1/models/", "/V1/models", "/v1/%6dodels", "/v1/./models", "/livez/../v1/models"],
)
def test_no_spelling_of_a_path_gets_around_the_key(locked: Running, path: str) -> None:
    headers = {"host": "127.0.0.1/livez?", "x-forwarded-for": "127.0.0.1", "x-original-url": "/livez"}
    assert locked.http.request("GET", path, headers=headers).status_code in (401, 404)


def test_the_admin_routes_are_not_on_the_public_address(locked: Running) -> None:
    for path in ("/metrics", "/admin/state"):
        found = locked.http.get(path, headers={"authorization": f"Bearer {BOSS}"})
        assert found.status_code == 404


def test_a_client_has_its_own_limit(artifact: Path, start: Callable[..., Running]) -> None:
    other = USER[::-1]
    limits = {"requests_per_s": 0.001, "burst": 2}
    gateway = start(settings_for(artifact, auth={"keys": [USER, other]}, limits=limits))

    def status(key: str) -> int:
        headers = {"authorization": f"Bearer {key}"}
        return gateway.http.post("/predict", json={"query": "plan"}, headers=headers).status_code

    assert [status(USER) for _ in range(3)] == [200, 200, 429]
    assert status(other) == 200


@pytest.mark.parametrize("place", ["admin_keys", "keys_file"])
def test_keys_of_the_same_name_are_two_clients(
    artifact: Path, start: Callable[..., Running], tmp_path: Path, place: str
) -> None:
    """The first user key, the first admin key and the first line of a file are all called key-1."""
    file = tmp_path / "keys"
    file.write_text(hashed_line(BOSS))
    auth = {"keys": [USER], place: [BOSS] if place == "admin_keys" else str(file)}
    gateway = start(settings_for(artifact, auth=auth, limits={"requests_per_s": 0.001, "burst": 1}))

    def status(key: str) -> int:
        headers = {"authorization": f"Bearer {key}"}
        return gateway.http.post("/predict", json={"query": "plan"}, headers=headers).status_code

    assert [status(USER), status(USER), status(BOSS)] == [200, 429, 200]


@pytest.mark.parametrize("keys", [[USER], [USER, USER[::-1]]])
def test_the_cache_tells_no_key_what_another_asked(
    artifact: Path, start: Callable[..., Running], keys: list[str]
) -> None:
    gateway = start(settings_for(artifact, auth={"keys": keys}))
    for key in keys * 2:
        headers = {"authorization": f"Bearer {key}"}
        for path, body in (
            ("/predict", {"query": "plan"}),
            ("/explain", {"query": "a plan"}),
            ("/score", {"data": ["plan"]}),
        ):
            assert gateway.http.post(path, json=body, headers=headers).status_code == 200
    runs = gateway.gateway.engine.batcher.stats.texts
    alone = runs / len(keys)
    # Each key has the model read all of its texts once: plan, a plan, and that without either word.
    assert alone == 4


class TestKeys:
    @pytest.mark.parametrize("key", ["", "short", "a" * 64, "changeme" + "x7" * 20, "sk-1234567890" * 4])
    def test_weak_keys_are_refused_unseen(self, artifact: Path, key: str) -> None:
        with pytest.raises(SettingsError) as caught:
            load_access(settings_for(artifact, auth={"keys": [key]}).auth)
        assert not key or key not in str(caught.value)

    @pytest.mark.parametrize("table", [{"host": "0.0.0.0"}, {"admin_host": "::"}, {"host": "example.org"}])
    def test_beyond_loopback_keys_are_needed(self, artifact: Path, table: dict[str, str]) -> None:
        settings = settings_for(artifact, server=table)
        with pytest.raises(SettingsError, match="keys"):
            check_exposure(settings.server, load_access(settings.auth))

    def test_a_proxy_that_checks_opens_the_public_address_only(self, artifact: Path) -> None:
        def check(**server: object) -> None:
            settings = settings_for(artifact, server=server, auth={"by_proxy": True})
            check_exposure(settings.server, load_access(settings.auth))

        check(host="0.0.0.0")
        check(host="0.0.0.0", admin_host="0.0.0.0", admin_port="none")
        with pytest.raises(SettingsError, match=r"auth\.admin_keys"):
            check(host="0.0.0.0", admin_host="0.0.0.0")

    @pytest.mark.parametrize("keys", [{"keys": [USER]}, {"keys_file": "keys.txt"}])
    def test_either_the_proxy_checks_or_the_gateway(self, artifact: Path, keys: dict[str, object]) -> None:
        with pytest.raises(SettingsError, match="not both"):
            settings_for(artifact, auth={"by_proxy": True, **keys})

    def test_a_proxys_own_key_is_none_of_ours_and_the_log_warns(
        self, artifact: Path, start: Callable[..., Running], caplog: pytest.LogCaptureFixture
    ) -> None:
        gateway = start(settings_for(artifact, auth={"by_proxy": True}))
        headers = {"authorization": "Bearer the-proxys-own"}
        assert gateway.http.post("/predict", json={"query": "plan"}, headers=headers).status_code == 200
        assert "open_to_everybody_who_reaches_it" in caplog.text

    def test_a_file_of_hashes(self, artifact: Path, tmp_path: Path) -> None:
        file = tmp_path / "keys"
        file.write_text(f"# people\n\n{hashed_line(USER, 'ann')}\n")
        users = load_access(settings_for(artifact, auth={"keys_file": str(file)}).auth).users
        assert str(users.holder_of(USER)).startswith("user:ann:")
        assert users.holder_of(BOSS) is None
        assert USER not in file.read_text()

    @pytest.mark.parametrize("text", ["", "# nothing\n", "ann plain-text-key\n", "ann sha256:zz\n"])
    def test_a_file_that_is_not_understood(self, artifact: Path, tmp_path: Path, text: str) -> None:
        file = tmp_path / "keys"
        file.write_text(text)
        with pytest.raises(SettingsError):
            load_access(settings_for(artifact, auth={"keys_file": str(file)}).auth)
