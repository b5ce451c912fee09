"""What names a router, and what it names."""

from pathlib import Path

import pytest
from tests.support.tiny_artifact import build_tiny_artifact

from pointsman.artifact.address import checkpoint_at, open_artifact, shipped_artifact
from pointsman.artifact.registry import Registry
from pointsman.errors import ArtifactError, ArtifactNotFoundError


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", ["default-router", Path("default-router")])
def test_default_router_is_the_shipped_one(name: str | Path) -> None:
    assert open_artifact(name).path == shipped_artifact()
    assert (checkpoint_at(name) / "model.safetensors").is_file()


def test_a_directory_of_that_name_goes_first() -> None:
    built = build_tiny_artifact(Path("default-router"))
    assert open_artifact("default-router").manifest.id == built.manifest.id
    assert checkpoint_at("default-router") == Path("default-router")


def test_it_is_found_where_a_registry_is() -> None:
    Registry(Path()).publish(build_tiny_artifact(Path("made")), "one")
    assert open_artifact("default-router").path == shipped_artifact()


@pytest.mark.parametrize("name", ["default-routers", "x/default-router", "Default-Router"])
def test_no_other_name_is_it(name: str) -> None:
    with pytest.raises(ArtifactNotFoundError):
        open_artifact(name)
    assert checkpoint_at(name) == Path(name)


@pytest.mark.parametrize("path", ["x" * 5000, "b" * 300, "with a \0 in it"], ids=["long", "name", "nul"])
def test_a_path_that_no_system_takes_is_an_error_of_the_tree(path: str) -> None:
    with pytest.raises(ArtifactError, match="cannot be read"):
        open_artifact(path)
