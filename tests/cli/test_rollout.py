"""`rollout`: a second artifact in a running gateway, compared, promoted and rolled back from the shell."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.fake_upstream import FakeUpstream, answer
from tests.support.keyword_artifact import build_keyword_artifact
from tests.support.running import Running, running, settings_for
from tests.support.tiny_artifact import CLOUD_TEXT, build_tiny_artifact

from pointsman.artifact.address import open_artifact
from pointsman.artifact.manifest import Calibration
from pointsman.artifact.registry import Registry
from pointsman.cli.__main__ import main

KEY = "5f1d9a7b3c" * 4
Rollout = Callable[..., tuple[int, str, str]]


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """With `one`, which is stable, and `two`, which sends everything to the local model."""
    made = Registry(tmp_path / "registry")
    made.publish(open_artifact(build_tiny_artifact(tmp_path / "one").path), "one")
    made.promote("one")
    never = Calibration("platt", 1.0, -50.0, 64 * "0", 10)
    made.publish(open_artifact(build_keyword_artifact(tmp_path / "two", never).path), "two")
    return made


@pytest.fixture
def gateway(registry: Registry, tmp_path: Path) -> Iterator[Running]:
    settings = settings_for(tmp_path / "registry" / "stable", auth={"admin_keys": [KEY]})
    with running(settings) as made:
        yield made


@pytest.fixture
def rollout(
    gateway: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Rollout:
    monkeypatch.setenv("POINTSMAN_ADMIN_KEY", KEY)
    address = str(gateway.admin.base_url).rstrip("/")

    def call(*words: str) -> tuple[int, str, str]:
        code = main(["rollout", *words, "--admin-url", address])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_a_version_is_compared_promoted_and_rolled_back(
    rollout: Rollout, gateway: Running, registry: Registry, tmp_path: Path
) -> None:
    folder = ("--registry", str(tmp_path / "registry"))
    code, _, error = rollout("promote", "two", *folder)
    assert (code, "was not compared" in error) == (2, True)
    assert rollout("shadow", "two", *folder)[0] == 0
    deadline, number = time.monotonic() + 60, 0
    while gateway.gateway.engine.shadow_stats.compared < 20:
        gateway.http.post("/predict", json={"query": f"{CLOUD_TEXT} {number}"})
        number += 1
        assert time.monotonic() < deadline
    code, said, _ = rollout("status")
    assert (code, "compares only" in said, "0.0% the same" in said) == (0, True, True)
    assert "100.0% to local by the second only" in said
    assert rollout("promote", "two", *folder, "--least", "1000")[0] == 2
    code, said, _ = rollout("promote", "two", *folder, "--least", "20", "--json")
    state = json.loads(said)
    assert (code, state["version"], state["second"]) == (0, "two", None)
    assert registry.aliases()["stable"] == "two"
    assert rollout("rollback", *folder)[0] == 0
    assert gateway.gateway.engine.current.version == "one"


def test_a_canary_decides_its_share_and_ends(rollout: Rollout, gateway: Running, tmp_path: Path) -> None:
    path = str(tmp_path / "registry" / "two")
    code, said, _ = rollout("canary", path, "--share", "0.25")
    assert (code, "decides 25%" in said) == (0, True)
    assert rollout("promote", path)[0] == 2
    assert rollout("promote", path, "--yes")[0] == 0
    assert gateway.gateway.engine.second is None
    with pytest.raises(SystemExit):
        rollout("canary", path, "--share", "2")
    code, said, _ = rollout("stop")
    assert (code, "second" in said) == (0, False)


def test_what_is_wrong_is_said(
    rollout: Rollout, gateway: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "--registry" in rollout("rollback")[2]
    code, _, error = rollout("shadow", str(tmp_path / "nowhere"))
    assert (code != 0, "refused" in error) == (True, True)
    registry = Registry(tmp_path / "registry")
    monkeypatch.setenv("POINTSMAN_ADMIN_KEY", "wrong")
    code, _, error = rollout("status")
    assert (code != 0, "POINTSMAN_ADMIN_KEY" in error) == (True, True)
    assert registry.aliases()["stable"] == "one"
    monkeypatch.setenv("POINTSMAN_ADMIN_KEY", KEY)
    gateway.gateway.engine._path = tmp_path / "one"
    code, _, error = rollout("promote", "two", "--registry", str(tmp_path / "registry"), "--yes")
    assert (code, "does not serve" in error) == (2, True)
    assert registry.aliases()["stable"] == "one"
    assert main(["rollout", "status", "--admin-url", "http://127.0.0.1:1"]) != 0


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (200, b'{"error": "no such endpoint"}'),
        (200, b"[]"),
        (404, b'{"detail": "Not Found"}'),
        (404, b'"no"'),
    ],
)
def test_a_server_that_is_no_gateway_is_told_apart(
    capsys: pytest.CaptureFixture[str], status: int, said: bytes
) -> None:
    other = FakeUpstream(answer(status, said))
    try:
        assert main(["rollout", "status", "--admin-url", f"http://127.0.0.1:{other.port}"]) == 7
        assert "no gateway answers at" in capsys.readouterr().err
    finally:
        other.close()


def test_an_alias_does_not_go_back_where_no_gateway_follows(registry: Registry, tmp_path: Path) -> None:
    registry.promote("two")
    words = ["rollout", "rollback", "--registry", str(tmp_path / "registry")]
    assert main([*words, "--admin-url", "http://127.0.0.1:1"]) == 7
    assert registry.aliases()["stable"] == "two"
