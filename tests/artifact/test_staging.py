"""A writer that was killed at any point: readers see whole versions only, and the next publish cleans up."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.support.tiny_artifact import build_tiny_artifact

from pointsman.artifact import staging
from pointsman.artifact.registry import Registry
from pointsman.artifact.store import Artifact, copy_artifact, staged

pytest.importorskip("fcntl")

KILLED_AT = """
import json, os, signal, sys
from pathlib import Path
from pointsman.artifact.registry import Registry
from pointsman.artifact.store import Artifact

source, registry, at = Artifact.open(Path(sys.argv[1])), Registry(Path(sys.argv[2])), int(sys.argv[3])
WRITES = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}
seen = 0

def count(event, args):
    global seen
    if event in WRITES:
        seen += 1
        if seen == at:
            os.kill(os.getpid(), signal.SIGKILL)

really_sync = os.fsync

def sync(descriptor):
    count("open", ())
    really_sync(descriptor)

os.fsync = sync
sys.addaudithook(count)
registry.publish(source, "next")
registry.promote("next")
"""
"""Publishes and promotes, and is killed at the n-th change of the disk."""


def aged(directory: Path) -> None:
    """Let every stage look as if its writer had left it some minutes ago."""
    past = time.time() - 2 * staging.SETTLED_S
    for stage in directory.glob(".*.partial"):
        os.utime(stage, (past, past))


def stages(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.glob(".*.partial"))


def test_a_kill_at_any_change_of_the_disk_leaves_old_or_new(tmp_path: Path) -> None:
    artifact = build_tiny_artifact(tmp_path / "artifact")
    left, at = 0, 0
    while True:
        at += 1
        registry = Registry(tmp_path / f"registry-{at}")
        registry.publish(artifact, "old")
        registry.promote("old")
        done = subprocess.run(
            [sys.executable, "-c", KILLED_AT, str(artifact.path), str(registry.path), str(at)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            break
        assert done.returncode == -9, done.stderr
        names = {version.name for version in registry.versions()}
        assert names in ({"old"}, {"old", "next"})
        assert registry.aliases()["stable"] in names
        registry.verify()
        left += bool(stages(registry.path / "versions"))
        aged(registry.path / "versions")
        registry.publish(artifact, "after")
        registry.open("after").verify()
        assert stages(registry.path / "versions") == []
        assert [json.dumps(event) for event in registry.history()]
    assert at > 20 and left > 5


def test_a_stage_at_work_and_a_fresh_one_are_left_alone(tmp_path: Path) -> None:
    artifact = build_tiny_artifact(tmp_path / "artifact")
    fresh = tmp_path / ".next.00000000.partial"
    with staged(tmp_path / "next") as stage:
        fresh.mkdir()
        os.utime(stage, (0, 0))
        with staged(tmp_path / "next"):
            assert stage.is_dir() and fresh.is_dir()
        aged(tmp_path)
        copy_artifact(artifact, tmp_path / "next")
        assert stage.is_dir() and not fresh.exists()
    assert stages(tmp_path) == []


def test_a_stage_of_another_name_is_not_ours_to_remove(tmp_path: Path) -> None:
    artifact = build_tiny_artifact(tmp_path / "artifact")
    other = tmp_path / ".other.00000000.partial"
    other.mkdir()
    aged(tmp_path)
    copied = copy_artifact(artifact, tmp_path / "ne[x]t")
    assert other.is_dir() and Artifact.open(copied.path) == copied
