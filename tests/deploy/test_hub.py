"""The real client in processes of its own, against a stand-in of the Hub on the loopback."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.deploy.hub_stand_in import TOKEN, Hub
from tests.support.tiny_artifact import build_tiny_artifact

from pointsman.artifact.hub import HubAddress
from pointsman.artifact.layout import MANIFEST
from pointsman.artifact.store import Artifact
from pointsman.errors import SettingsError
from pointsman.runtime.router import Router

pytestmark = pytest.mark.slow

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return build_tiny_artifact(tmp_path_factory.mktemp("router") / "tiny")


@pytest.fixture
def run(hub: Hub, tmp_path: Path) -> Run:
    """`pointsman` with the stand-in as its Hub; returns the finished process."""

    def call(
        *words: object, token: str | None = TOKEN, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        variables = {
            **kept,
            "HF_ENDPOINT": hub.endpoint,
            "HF_HOME": str(tmp_path / "hf"),
            # The objects' older way, which a stand-in can speak.
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            **({"HF_TOKEN": token} if token else {}),
            **environment,
        }
        command = [sys.executable, "-m", "pointsman", *map(str, words)]
        done = subprocess.run(
            command, capture_output=True, text=True, env=variables, cwd=tmp_path, timeout=120, check=False
        )
        assert TOKEN not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        return done

    return call


def test_what_was_pushed_is_loaded_and_decides_the_same(
    hub: Hub, run: Run, artifact: Artifact, tmp_path: Path
) -> None:
    done = run("push", artifact.path, "owner/tiny", "--private", "--json")
    assert done.returncode == 0, done.stderr
    address = json.loads(done.stdout)["artifact"]
    repository = hub.repositories["owner/tiny"]
    [files] = [repository.commits[repository.branches["main"]]]
    assert repository.private
    assert set(files) == {*artifact.manifest.files, MANIFEST, ".gitattributes"}
    assert repository.lfs == {name for name in files if name.endswith(".onnx")}
    assert files[".gitattributes"].decode().splitlines()[:2] == [
        "*.bin filter=lfs diff=lfs merge=lfs -text",
        "*.onnx filter=lfs diff=lfs merge=lfs -text",
    ]
    for named in ("hub:owner/tiny", "hub:owner/tiny@main", address):
        routed = run("route", "--artifact", named, "--json", "hello thanks", "analyze the plan")
        assert routed.returncode == 0, routed.stderr
        found = [json.loads(line)["p_cloud"] for line in routed.stdout.splitlines()]
        decisions = Router.open(artifact).route_many(["hello thanks", "analyze the plan"])
        assert found == [decision.p_cloud for decision in decisions]
    assert run("verify", address).returncode == 0
    # A commit that is there needs no network; a branch does.
    hub.stop()
    hub.requests.clear()
    assert run("route", "--artifact", address, "hello", HF_HUB_OFFLINE="1").returncode == 0
    offline = run("route", "--artifact", "hub:owner/tiny", "hello", HF_HUB_OFFLINE="1")
    gone = run("route", "--artifact", "hub:owner/tiny", "hello")
    for done in (offline, gone):
        assert done.returncode == 3
        assert "cannot be reached" in done.stderr and "COMMIT" in done.stderr


def test_a_second_push_goes_to_its_branch_and_keeps_what_is_there(
    hub: Hub, run: Run, artifact: Artifact
) -> None:
    assert run("push", artifact.path, "owner/tiny").returncode == 0
    repository = hub.repositories["owner/tiny"]
    main = repository.branches["main"]
    repository.commits[main]["notes.txt"] = b"mine"
    assert run("push", artifact.path, "owner/tiny", "--revision", "canary").returncode == 0
    assert repository.branches["main"] == main
    assert repository.commits[repository.branches["canary"]]["notes.txt"] == b"mine"
    assert run("verify", "hub:owner/tiny@canary").returncode == 0


def test_an_altered_file_is_refused_and_nothing_is_kept(
    hub: Hub, run: Run, artifact: Artifact, tmp_path: Path
) -> None:
    assert run("push", artifact.path, "owner/tiny").returncode == 0
    files = hub.repositories["owner/tiny"].commits[hub.repositories["owner/tiny"].branches["main"]]
    model = next(name for name in files if name.endswith(".onnx"))
    files[model] = files[model][:-1] + b"!"
    done = run("route", "--artifact", "hub:owner/tiny", "hello")
    assert done.returncode == 3
    assert "is not the file that was built" in done.stderr
    assert not list((tmp_path / "hf" / "pointsman").glob("*/*"))
    del files[MANIFEST]
    done = run("route", "--artifact", "hub:owner/tiny", "hello")
    assert done.returncode == 3
    assert "is no artifact" in done.stderr


def test_what_is_not_there_or_not_allowed_is_said(hub: Hub, run: Run, artifact: Artifact) -> None:
    done = run("push", artifact.path, "owner/tiny", token=None)
    assert (done.returncode, hub.requests) == (2, [])
    assert "HF_TOKEN" in done.stderr
    done = run("push", artifact.path, "owner/tiny", token="hf_wrong")
    assert done.returncode == 3 and "hf auth login" in done.stderr
    done = run("route", "--artifact", "hub:owner/none", "hello")
    assert done.returncode == 3 and "no such repository" in done.stderr
    assert run("push", artifact.path, "owner/tiny", "--private").returncode == 0
    done = run("route", "--artifact", "hub:owner/tiny@nowhere", "hello")
    assert done.returncode == 3 and "no such revision" in done.stderr
    done = run("route", "--artifact", "hub:owner/tiny", "hello", token=None)
    assert done.returncode == 3 and "private" in done.stderr
    before = dict(hub.repositories["owner/tiny"].branches)
    hub.refuse_commits = True
    done = run("push", artifact.path, "owner/tiny")
    assert done.returncode == 3 and "403" in done.stderr
    assert hub.repositories["owner/tiny"].branches == before
    assert run("push", artifact.path, "no-owner").returncode == 2


def test_an_altered_artifact_is_not_pushed(hub: Hub, run: Run, tmp_path: Path) -> None:
    artifact = build_tiny_artifact(tmp_path / "tiny")
    (artifact.path / "secret.txt").write_text("mine")
    done = run("push", artifact.path, "owner/tiny")
    assert done.returncode == 3 and "secret.txt" in done.stderr
    assert hub.requests == []


@pytest.mark.parametrize("text", ["hub:", "hub:name", "hub:a/b/c", "hub:a/b@", "hub:../b", "hub:a/b c"])
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(SettingsError, match="hub:owner/name"):
        HubAddress.parse(text)


def test_without_the_client_the_error_is_the_line_that_installs_it(run: Run, tmp_path: Path) -> None:
    (tmp_path / "huggingface_hub.py").write_text("raise ModuleNotFoundError(name='huggingface_hub')")
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = run("route", "--artifact", "hub:owner/tiny", "hello", PYTHONPATH=path)
    assert done.returncode == 2
    assert "pip install 'pointsman[hub]'" in done.stderr
