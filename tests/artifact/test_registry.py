"""The registry: versions never change, an alias moves in one step, the history is kept."""

import json
import random
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.tiny_artifact import build_tiny_artifact
from tests.support.waiting import until

from pointsman.artifact.layout import FOLDED
from pointsman.artifact.registry import Registry
from pointsman.artifact.store import Artifact, rewrite_manifest
from pointsman.errors import IntegrityError, PointsmanError, RegistryError
from pointsman.policy import Policy


@pytest.fixture
def artifacts(tmp_path: Path) -> list[Artifact]:
    first = build_tiny_artifact(tmp_path / "first")
    manifest = replace(first.manifest, policy=Policy(0.3))
    return [first, rewrite_manifest(first, tmp_path / "second", manifest)]


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry")


@pytest.fixture
def full(registry: Registry, artifacts: list[Artifact]) -> Registry:
    """Versions a and b; neither is promoted."""
    for name, artifact in zip("ab", artifacts, strict=True):
        registry.publish(artifact, name)
    return registry


def events(registry: Registry) -> list[tuple[str, str]]:
    return [(event["event"], event["version"]) for event in registry.history()]


def test_an_empty_registry_is_empty_and_makes_nothing(registry: Registry) -> None:
    assert (registry.versions(), registry.aliases(), registry.history(), registry.verify()) == (
        [],
        {},
        [],
        [],
    )
    assert not registry.path.exists()


def test_a_version_is_a_whole_copy(registry: Registry, artifacts: list[Artifact]) -> None:
    version = registry.publish(artifacts[0], "1.0")
    opened = registry.open("1.0")
    opened.verify()
    assert opened.path != artifacts[0].path
    assert version.artifact_id == opened.manifest.id == artifacts[0].manifest.id


def test_a_version_without_a_name_gets_the_time_and_its_id(
    registry: Registry, artifacts: list[Artifact]
) -> None:
    name = registry.publish(artifacts[0]).name
    assert name.endswith(artifacts[0].manifest.id[:8])
    assert registry.open(name).manifest == artifacts[0].manifest


def test_versions_are_listed_with_their_aliases(full: Registry, artifacts: list[Artifact]) -> None:
    full.promote("a")
    full.promote("a", "canary")
    listed = {version.name: (version.artifact_id, version.aliases) for version in full.versions()}
    assert listed == {
        "a": (artifacts[0].manifest.id, ("canary", "stable")),
        "b": (artifacts[1].manifest.id, ()),
    }


def test_a_version_is_never_published_twice(full: Registry, artifacts: list[Artifact]) -> None:
    with pytest.raises(RegistryError, match="versions never change"):
        full.publish(artifacts[1], "a")
    assert full.open("a").manifest == artifacts[0].manifest
    assert events(full) == [("publish", "a"), ("publish", "b")]


def test_promote_moves_and_rollback_goes_back(full: Registry, artifacts: list[Artifact]) -> None:
    full.promote("a")
    full.promote("b")
    assert full.open().manifest == artifacts[1].manifest
    assert full.rollback() == "a"
    assert full.open().manifest == artifacts[0].manifest
    assert events(full)[2:] == [("promote", "a"), ("promote", "b"), ("rollback", "a")]


def test_rollback_after_rollback_goes_on_back(full: Registry, artifacts: list[Artifact]) -> None:
    full.publish(artifacts[0], "c")
    for version in "abc":
        full.promote(version)
    assert [full.rollback(), full.rollback()] == ["b", "a"]
    full.promote("c")
    assert full.rollback() == "a"


def test_promoting_twice_is_promoting_once(full: Registry) -> None:
    for version in ("a", "b", "b"):
        full.promote(version)
    assert full.rollback() == "a"


@pytest.mark.parametrize("promoted", [[], ["a"], ["a", "a"]])
def test_nothing_to_go_back_to_is_said_and_the_alias_stays(full: Registry, promoted: list[str]) -> None:
    for version in promoted:
        full.promote(version)
    before = full.aliases()
    with pytest.raises(RegistryError, match="no earlier version"):
        full.rollback()
    assert full.aliases() == before


def test_aliases_have_histories_of_their_own(full: Registry) -> None:
    full.promote("a")
    full.promote("b", "canary")
    full.promote("b")
    with pytest.raises(RegistryError, match="'canary'"):
        full.rollback("canary")
    assert full.rollback() == "a"
    assert full.aliases() == {"canary": "b", "stable": "a"}


def test_a_version_that_is_not_there_is_said_with_those_that_are(full: Registry) -> None:
    for act in (full.open, full.promote, full.verify):
        with pytest.raises(RegistryError, match=r"'z' is no version or alias.*\['a', 'b'\]"):
            act("z")


def test_an_altered_version_is_not_promoted(full: Registry) -> None:
    full.promote("a")
    with (full.path / "versions" / "b" / FOLDED).open("ab") as stream:
        stream.write(b"\0")
    for act in (lambda: full.promote("b"), full.verify, lambda: full.verify("b")):
        with pytest.raises(IntegrityError, match=FOLDED):
            act()
    assert full.aliases() == {"stable": "a"}
    assert full.verify("a") == ["a"]


def test_an_altered_version_is_not_rolled_back_to(full: Registry) -> None:
    full.promote("a")
    full.promote("b")
    (full.path / "versions" / "a" / FOLDED).write_bytes(b"")
    with pytest.raises(IntegrityError):
        full.rollback()
    assert full.aliases() == {"stable": "b"}


def test_verify_checks_all_and_finds_an_alias_that_names_nothing(full: Registry) -> None:
    assert full.verify() == ["a", "b"]
    (full.path / "aliases").mkdir()
    (full.path / "aliases" / "stable").write_text("gone\n", encoding="utf-8")
    with pytest.raises(RegistryError, match=r"'stable'.*'gone'"):
        full.verify()


def test_an_alias_cannot_lead_out_of_the_registry(full: Registry, tmp_path: Path) -> None:
    (full.path / "aliases").mkdir()
    (full.path / "aliases" / "stable").write_text("../../first\n", encoding="utf-8")
    for act in (full.open, full.verify):
        with pytest.raises(RegistryError):
            act()


@pytest.mark.parametrize("name", ["../x", "/x", "a/b", ".hidden", "-x", "a b", "a\n", "ä", "x" * 101, "a\0"])
def test_a_bad_name_is_refused_and_writes_nothing(
    full: Registry, artifacts: list[Artifact], tmp_path: Path, name: str
) -> None:
    before = sorted(tmp_path.rglob("*"))
    for act in (lambda: full.publish(artifacts[0], name), lambda: full.promote("a", name)):
        with pytest.raises(RegistryError, match="expected letters"):
            act()
    with pytest.raises(RegistryError):
        full.open(name)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_registry_that_cannot_be_made_is_said(artifacts: list[Artifact], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RegistryError, match="no registry can be made"):
        Registry(tmp_path / "file").publish(artifacts[0], "a")


def test_a_crash_that_tore_the_history_costs_one_line(full: Registry) -> None:
    with (full.path / "history.jsonl").open("a", encoding="utf-8") as stream:
        stream.write('{"time": "2026-01-01", "event": "pro')
    full.promote("a")
    full.promote("b")
    assert events(full) == [("publish", "a"), ("publish", "b"), ("promote", "a"), ("promote", "b")]
    assert full.rollback() == "a"


def test_the_history_is_only_added_to(full: Registry) -> None:
    path = full.path / "history.jsonl"
    before = path.read_bytes()
    full.promote("a")
    full.promote("b")
    full.rollback()
    assert path.read_bytes().startswith(before)
    last = json.loads(path.read_text(encoding="utf-8").splitlines()[-1])
    assert (last["event"], last["alias"], last["version"], last["previous"]) == (
        "rollback",
        "stable",
        "a",
        "b",
    )
    assert last["time"].endswith("+00:00")


def test_a_reader_never_sees_half_an_alias(full: Registry) -> None:
    full.promote("a")
    done, seen, failed = threading.Event(), set(), []

    def read() -> None:
        while not done.is_set():
            try:
                seen.add(full.aliases()["stable"])
                full.open()
            except (PointsmanError, KeyError) as error:
                failed.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for _ in range(30):
        full.promote("b")
        full.promote("a")
    done.set()
    for reader in readers:
        reader.join()
    assert failed == []
    assert seen <= {"a", "b"}


def test_of_many_publishers_of_one_version_one_wins(registry: Registry, artifacts: list[Artifact]) -> None:
    results: list[str] = []
    start = threading.Barrier(6)

    def publish(artifact: Artifact) -> None:
        start.wait()
        try:
            registry.publish(artifact, "one")
            results.append("won")
        except RegistryError:
            results.append("lost")

    threads = [threading.Thread(target=publish, args=(artifacts[i % 2],)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["lost"] * 5 + ["won"]
    registry.open("one").verify()
    assert [path.name for path in (registry.path / "versions").iterdir()] == ["one"]


@pytest.mark.parametrize("name", ["stable", "Stable", "canary", "CANARY", "A", "nul", "COM1.x", "x."])
def test_a_version_named_like_another_name_is_refused(
    full: Registry, artifacts: list[Artifact], name: str
) -> None:
    full.promote("a", "canary")
    with pytest.raises(RegistryError, match=r"Choose another"):
        full.publish(artifacts[0], name)
    assert [version.name for version in full.versions()] == ["a", "b"]


@pytest.mark.parametrize("alias", ["a", "B", "STABLE", "con"])
def test_an_alias_named_like_another_name_is_refused(full: Registry, alias: str) -> None:
    full.promote("a")
    with pytest.raises(RegistryError, match=r"Choose another"):
        full.promote("b", alias)
    assert full.aliases() == {"stable": "a"}


def test_another_artifact_in_a_versions_place_is_refused(full: Registry, artifacts: list[Artifact]) -> None:
    shutil.rmtree(full.path / "versions" / "a")
    other = replace(artifacts[0].manifest, provenance={"made_by": "another"})
    rewrite_manifest(artifacts[0], full.path / "versions" / "a", other).verify()
    for act in (lambda: full.open("a"), lambda: full.promote("a"), full.verify):
        with pytest.raises(IntegrityError, match=r"'a' in .* is not what was published: .* manifest_sha256"):
            act()
    assert full.aliases() == {}


def test_a_version_that_was_never_published_here_is_refused(
    full: Registry, artifacts: list[Artifact]
) -> None:
    rewrite_manifest(artifacts[0], full.path / "versions" / "c", artifacts[0].manifest)
    for act in (lambda: full.promote("c"), full.verify):
        with pytest.raises(IntegrityError, match="no record in the history"):
            act()


def test_an_alias_that_was_moved_by_hand_is_found(full: Registry) -> None:
    full.promote("a")
    full.promote("a")
    (full.path / "aliases" / "stable").write_text("b\n", encoding="utf-8")
    with pytest.raises(RegistryError, match="which is not in the history"):
        full.verify()


def test_a_promotion_that_was_killed_halfway_counts_as_made(
    full: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    full.promote("a")
    for alias in ("stable", "canary"):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Registry, "_point", killed)
            full.promote("b", alias)
    assert full.aliases() == {"canary": "b", "stable": "b"}
    assert full.verify() == ["a", "b"]
    full.promote("a")
    assert (full.path / "aliases" / "stable").read_text(encoding="utf-8") == "a\n"


def test_promotions_that_were_killed_halfway_one_after_the_other_count_as_made(
    full: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Registry._record

    def record_and_be_killed(self: Registry, event: str, **facts: object) -> None:
        record(self, event, **facts)
        raise KeyboardInterrupt

    full.promote("a")
    monkeypatch.setattr(Registry, "_record", record_and_be_killed)
    for version in ("b", "b", "a", "b"):
        with pytest.raises(KeyboardInterrupt):
            full.promote(version)
        assert full.aliases() == {"stable": version}


_PROMOTE = """
import sys
from pathlib import Path
from pointsman.artifact.registry import Registry
while True:
    Registry(Path(sys.argv[1])).promote(sys.argv[2])
"""


def test_alias_and_history_agree_when_many_promote_and_are_killed(full: Registry) -> None:
    draw = random.Random(0)
    for _ in range(3):
        command = [sys.executable, "-c", _PROMOTE, str(full.path)]
        workers = [subprocess.Popen([*command, version]) for version in "abab"]
        before = len(full.history())
        try:
            until(lambda: len(full.history()) >= before + 8)  # noqa: B023 - called at once
            time.sleep(0.05 * draw.random())
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()
        last = [event for event in full.history() if event["event"] == "promote"][-1]
        assert full.aliases() == {"stable": last["version"]}
        assert full.verify() == ["a", "b"]
