"""Artifacts on disk: whole or not there, and no parser sees a byte that was not verified."""

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.tiny_artifact import build_tiny_artifact

from pointsman.artifact import store
from pointsman.artifact.digest import digest_bytes
from pointsman.artifact.layout import FOLDED, MANIFEST, TOKENIZER
from pointsman.artifact.registry import Registry
from pointsman.artifact.store import Artifact, copy_artifact, require_place, rewrite_manifest, seal, staged
from pointsman.errors import (
    ArtifactError,
    ArtifactNotFoundError,
    IntegrityError,
    ManifestError,
    OutputExistsError,
)
from pointsman.policy import Policy
from pointsman.runtime import router as router_module
from pointsman.runtime.router import Router
from pointsman.settings import Settings

FILES = (TOKENIZER, FOLDED)


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return build_tiny_artifact(tmp_path / "router")


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(bytes(data))


def staging(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.name.startswith("."))


def test_what_was_written_is_read(artifact: Artifact) -> None:
    again = Artifact.open(artifact.path)
    assert again == artifact
    assert sorted(again.manifest.files) == sorted(FILES)
    again.verify()
    assert json.loads(again.read(TOKENIZER))["model"]["type"] == "WordPiece"


@pytest.mark.parametrize("place", ["artifact", "onnx/artifact"])
def test_the_artifact_inside_a_checkpoint_is_found(artifact: Artifact, tmp_path: Path, place: str) -> None:
    shutil.copytree(artifact.path, tmp_path / "checkpoint" / place)
    assert Artifact.open(tmp_path / "checkpoint").path == tmp_path / "checkpoint" / place


@pytest.mark.parametrize("name", FILES)
def test_one_flipped_bit_anywhere_is_found_and_the_file_named(artifact: Artifact, name: str) -> None:
    path = artifact.path / name
    size = path.stat().st_size
    for position in {0, 1, size // 3, size // 2, size - 1}:
        flip(path, position)
        with pytest.raises(IntegrityError, match=name):
            artifact.verify()
        with pytest.raises(IntegrityError, match=name):
            artifact.read(name)
        flip(path, position)
    artifact.verify()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("change", ["truncate", "append", "empty", "remove", "swap", "directory"])
def test_a_file_that_was_changed_is_named(artifact: Artifact, name: str, change: str) -> None:
    path = artifact.path / name
    data = path.read_bytes()
    if change in ("remove", "directory"):
        path.unlink()
        if change == "directory":
            path.mkdir()
    else:
        other = (artifact.path / next(n for n in FILES if n != name)).read_bytes()
        changed = {"truncate": data[:-1], "append": data + b"\0", "empty": b"", "swap": other}
        path.write_bytes(changed[change])
    with pytest.raises(IntegrityError, match=name):
        artifact.verify()
    with pytest.raises(IntegrityError, match=name):
        artifact.read(name)


@pytest.mark.parametrize("name", FILES)
def test_no_parser_sees_a_file_that_is_not_verified(
    artifact: Artifact, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bytes] = []
    for parser in ("TextEncoder", "Session"):
        real = getattr(router_module, parser)

        def watched(data: bytes | list[bytes], *rest: object, real: Any = real, **more: object) -> object:
            seen.append(data if isinstance(data, bytes) else b"".join(data))
            return real(data, *rest, **more)

        monkeypatch.setattr(router_module, parser, watched)
    Router.open(artifact.path, settings=Settings())
    assert len(seen) == len(FILES)
    seen.clear()
    flip(artifact.path / name, 10)
    altered = (artifact.path / name).read_bytes()
    with pytest.raises(IntegrityError, match=name):
        Router.open(artifact.path, settings=Settings())
    assert altered not in seen


def test_the_bytes_that_were_hashed_are_the_bytes_that_are_parsed(artifact: Artifact) -> None:
    """The file may change right after the check: nothing reads it a second time."""
    data = artifact.read(FOLDED)
    (artifact.path / FOLDED).write_bytes(b"evil")
    assert digest_bytes(data) == artifact.manifest.files[FOLDED]


@pytest.mark.parametrize("name", ["extra.txt", "onnx/extra.onnx", ".hidden"])
def test_an_extra_file_is_named(artifact: Artifact, name: str) -> None:
    (artifact.path / name).write_bytes(b"")
    with pytest.raises(IntegrityError, match=name):
        artifact.verify()


def test_an_extra_link_to_a_directory_is_named(artifact: Artifact, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (artifact.path / "extra").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(IntegrityError, match="extra"):
        artifact.verify()


LEFT_BY_TOOLS = [
    *(".gitattributes", ".gitignore", ".git/HEAD", ".cache/huggingface/download/a.lock", ".huggingface/x"),
    *("..data/manifest.json", "..2026_11_26/onnx/model.onnx", "onnx/..data", ".DS_Store", "onnx/.DS_Store"),
    *("._manifest.json", "onnx/._model.onnx", "__MACOSX/x", ".Trash-1000/x", "Thumbs.db", "Desktop.ini"),
    *("$RECYCLE.BIN/x", "lost+found/x", ".nfs000012", ".ipynb_checkpoints/x", "@eaDir/x", ".snapshot/x"),
]


@pytest.mark.parametrize("name", LEFT_BY_TOOLS)
def test_what_tools_leave_in_a_directory_is_named_and_not_refused(artifact: Artifact, name: str) -> None:
    (artifact.path / name).parent.mkdir(parents=True, exist_ok=True)
    (artifact.path / name).write_bytes(b"x")
    assert artifact.verify() == [name]
    copied = copy_artifact(artifact, artifact.path.with_name("copy"))
    assert copied.verify() == []
    assert not (copied.path / name).exists()


@pytest.mark.parametrize("name", ["xlost+found", ".git2", "cache/x", "a..b", "Thumbs.db.onnx"])
def test_a_name_that_only_looks_like_one_of_them_is_refused(artifact: Artifact, name: str) -> None:
    path = artifact.path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    with pytest.raises(IntegrityError, match="does not list"):
        artifact.verify()
    assert artifact.verify(listed_only=True) == []


def hub_cache(artifact: Artifact, root: Path) -> Path:
    """The layout of `huggingface_hub`: snapshots of links to blobs that lie beside them."""
    for name in (*artifact.manifest.files, MANIFEST):
        data = (artifact.path / name).read_bytes()
        blob = root / "blobs" / digest_bytes(data).sha256
        link = root / "snapshots" / "c0ffee" / name
        for path in (blob, link):
            path.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(data)
        link.symlink_to(os.path.relpath(blob, link.parent))
    return root / "snapshots" / "c0ffee"


def kubernetes_volume(artifact: Artifact, root: Path) -> Path:
    """A mounted ConfigMap: every name links through `..data`, which links to a dated folder."""
    shutil.copytree(artifact.path, root / "..2026_11_26_04_30_00.123")
    (root / "..data").symlink_to("..2026_11_26_04_30_00.123")
    for entry in artifact.path.iterdir():
        (root / entry.name).symlink_to(f"..data/{entry.name}")
    return root


LAYOUTS = pytest.mark.parametrize("layout", [hub_cache, kubernetes_volume])


@LAYOUTS
def test_links_of_a_cache_and_of_a_volume_are_followed(
    artifact: Artifact, tmp_path: Path, layout: Callable[[Artifact, Path], Path]
) -> None:
    linked = Artifact.open(layout(artifact, tmp_path / "linked"))
    assert all(name.startswith("..") for name in linked.verify())
    assert Router.open(linked.path, settings=Settings()).route("hello").target in ("local", "cloud")
    assert copy_artifact(linked, tmp_path / "copy").verify() == []
    assert Registry(tmp_path / "registry").publish(linked, "one").artifact_id == artifact.manifest.id


@LAYOUTS
@pytest.mark.parametrize("name", FILES)
def test_a_link_to_other_bytes_is_refused(
    artifact: Artifact, tmp_path: Path, layout: Callable[[Artifact, Path], Path], name: str
) -> None:
    linked = Artifact.open(layout(artifact, tmp_path / "linked"))
    flip((linked.path / name).resolve(), 10)
    for check in (linked.verify, lambda: linked.read(name), lambda: Router.open(linked.path)):
        with pytest.raises(IntegrityError, match=name):
            check()


@pytest.mark.parametrize("to", ["nowhere", "itself", "/etc/hostname"])
def test_a_link_to_no_file_of_ours_is_refused(artifact: Artifact, to: str) -> None:
    path = artifact.path / TOKENIZER
    path.unlink()
    path.symlink_to(path.name if to == "itself" else to)
    with pytest.raises(IntegrityError, match=TOKENIZER):
        artifact.verify()


def test_an_artifact_behind_a_link_is_an_artifact(artifact: Artifact, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(artifact.path)
    linked = Artifact.open(tmp_path / "current")
    linked.verify()
    assert linked.read(TOKENIZER) == artifact.read(TOKENIZER)


@pytest.mark.parametrize("name", FILES)
def test_a_pipe_is_refused_and_nobody_waits_for_it(artifact: Artifact, name: str) -> None:
    (artifact.path / name).unlink()
    os.mkfifo(artifact.path / name)
    for check in (artifact.verify, lambda: artifact.read(name)):
        with pytest.raises(IntegrityError, match=f"{name}.*not a regular file"):
            check()


def test_a_manifest_that_is_a_pipe_is_refused(artifact: Artifact) -> None:
    (artifact.path / MANIFEST).unlink()
    os.mkfifo(artifact.path / MANIFEST)
    with pytest.raises(ArtifactError, match="not a regular file"):
        Artifact.open(artifact.path)


def test_a_path_out_of_the_artifact_in_the_manifest_is_refused(artifact: Artifact) -> None:
    data = json.loads((artifact.path / MANIFEST).read_text(encoding="utf-8"))
    data["files"]["../outside"] = data["files"][TOKENIZER]
    (artifact.path / MANIFEST).write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(ManifestError, match="leaves the artifact"):
        Artifact.open(artifact.path)


def test_a_name_that_is_not_listed_is_not_read(artifact: Artifact) -> None:
    with pytest.raises(IntegrityError, match="is not a file of"):
        artifact.read("../../etc/passwd")
    with pytest.raises(IntegrityError, match="is not a file of"):
        artifact.read(MANIFEST)


@pytest.mark.parametrize("make", [lambda p: None, Path.mkdir, Path.touch], ids=["nothing", "empty", "a file"])
def test_no_artifact_is_said_with_the_remedy(tmp_path: Path, make: object) -> None:
    path = tmp_path / "router"
    make(path)  # type: ignore[operator]
    with pytest.raises(ArtifactNotFoundError, match="pointsman export"):
        Artifact.open(path)


def test_a_crash_in_the_middle_leaves_nothing(artifact: Artifact, tmp_path: Path) -> None:
    def crash() -> None:
        with staged(tmp_path / "next") as stage:
            (stage / "half").write_bytes(b"written")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        crash()
    assert not (tmp_path / "next").exists()
    assert staging(tmp_path) == []


def sync_failing_at(call: int) -> Iterator[None]:
    for _ in range(call):
        yield
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("call", range(5))
def test_a_full_disk_at_any_sync_leaves_nothing(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    calls = sync_failing_at(call)
    monkeypatch.setattr(store, "sync", lambda path: next(calls))
    with pytest.raises(ArtifactError, match="No space left"):
        copy_artifact(artifact, tmp_path / "next")
    assert not (tmp_path / "next").exists()
    assert staging(tmp_path) == []


def test_a_full_disk_while_writing_leaves_nothing(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ArtifactError, match="No space left"):
        copy_artifact(artifact, tmp_path / "next")
    assert not (tmp_path / "next").exists()
    assert staging(tmp_path) == []


def test_nothing_is_visible_before_it_is_whole(artifact: Artifact, tmp_path: Path) -> None:
    target = tmp_path / "next"
    with staged(target) as stage:
        for name in FILES:
            (stage / name).parent.mkdir(exist_ok=True)
            (stage / name).write_bytes(artifact.read(name))
            assert not target.exists()
        made = seal(stage, target, artifact.manifest)
    made.verify()
    assert made.manifest.id == artifact.manifest.id


@pytest.mark.parametrize("kind", ["file", "full directory", "dangling link"])
def test_an_existing_output_is_refused_and_kept(artifact: Artifact, tmp_path: Path, kind: str) -> None:
    target = tmp_path / "taken"
    if kind == "file":
        target.write_text("mine", encoding="utf-8")
    elif kind == "full directory":
        target.mkdir()
        (target / "mine").touch()
    else:
        target.symlink_to(tmp_path / "nowhere")
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    with pytest.raises(OutputExistsError, match="taken"):
        copy_artifact(artifact, target)
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


def test_an_empty_directory_is_a_place_to_write(artifact: Artifact, tmp_path: Path) -> None:
    (tmp_path / "next").mkdir()
    copy_artifact(artifact, tmp_path / "next").verify()


@pytest.mark.parametrize("place", ["a file/router", "a file/deep/router", "x" * 300, "x" * 250])
def test_a_place_that_takes_nothing_is_known_before_the_work(tmp_path: Path, place: str) -> None:
    (tmp_path / "a file").touch()
    with pytest.raises(ArtifactError, match="cannot write beside"):
        require_place(tmp_path / place)


def test_looking_for_a_place_leaves_nothing(tmp_path: Path) -> None:
    require_place(tmp_path / "deep" / "router")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("place", [".", "../here"])
def test_the_working_directory_is_no_place_to_write(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(OutputExistsError, match="Choose a directory in it"):
        copy_artifact(artifact, Path(place))
    assert not any((tmp_path / "here").iterdir())


def test_a_mounted_volume_is_no_place_to_write_but_a_directory_in_it_is(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    monkeypatch.setattr("os.path.ismount", lambda path: path == volume)
    with pytest.raises(OutputExistsError, match=rf"mount point.*Choose a directory in it: {volume}/router"):
        copy_artifact(artifact, volume)
    assert copy_artifact(artifact, volume / "router").verify() == []


def test_somebody_who_was_faster_is_not_overwritten(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one appears between the last look and the rename."""
    target, real = tmp_path / "next", Path.rename

    def rename(path: Path, to: Path) -> Path:
        shutil.copytree(artifact.path, target)
        (target / "theirs").touch()
        return real(path, to)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(OutputExistsError, match="next"):
        copy_artifact(artifact, target)
    assert (target / "theirs").exists()


def test_a_place_that_cannot_be_written_is_said(artifact: Artifact, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ArtifactError, match="cannot write beside"):
        copy_artifact(artifact, tmp_path / "file" / "next")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only to root")
def test_a_read_only_directory_is_said(artifact: Artifact, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o555)
    with pytest.raises(ArtifactError, match="Permission denied"):
        copy_artifact(artifact, tmp_path / "locked" / "next")


def test_a_read_only_file_system_is_said(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *rest: object, **named: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(ArtifactError, match="Read-only file system"):
        copy_artifact(artifact, tmp_path / "next")


def test_an_altered_artifact_is_not_copied(artifact: Artifact, tmp_path: Path) -> None:
    flip(artifact.path / FOLDED, 0)
    with pytest.raises(IntegrityError, match=FOLDED):
        copy_artifact(artifact, tmp_path / "next")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["router"]


def test_another_policy_is_another_artifact_with_the_same_files(artifact: Artifact, tmp_path: Path) -> None:
    manifest = replace(artifact.manifest, policy=Policy(0.3))
    made = rewrite_manifest(artifact, tmp_path / "next", manifest)
    made.verify()
    assert made.manifest.files == artifact.manifest.files
    assert made.manifest.id != artifact.manifest.id
    artifact.verify()
