"""Artifacts on disk: written whole or not at all, verified before they are trusted.

Writing goes to a hidden sibling directory, every file is synced, the manifest comes last, one rename
makes it visible. Reading checks size and SHA-256 before the bytes go to any parser.
"""

import errno
import glob
import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Self

from pointsman.artifact.atomic import sync
from pointsman.artifact.digest import BLOCK_BYTES, FileDigest, digest_file, digest_stream
from pointsman.artifact.layout import GUIDE_ARTIFACT, MANIFEST, ONNX_DIRECTORY
from pointsman.artifact.manifest import Manifest
from pointsman.artifact.staging import remove_stale, stage_lock
from pointsman.errors import ArtifactError, ArtifactNotFoundError, IntegrityError, OutputExistsError

_LEFT_BY_TOOLS = re.compile(
    r"(^|/)(\.\.[^/]+|\._[^/]*|\.DS_Store|\.Spotlight-V100|\.Trash[^/]*|\.fseventsd|__MACOSX"
    r"|thumbs\.db|desktop\.ini|\$RECYCLE\.BIN|System Volume Information"
    r"|lost\+found|\.nfs\w+|\.directory|@eaDir|\.snapshot"
    r"|\.git|\.git(attributes|ignore|keep|modules)|\.cache|\.huggingface|\.ipynb_checkpoints)(/|$)",
    re.IGNORECASE,
)
"""What Kubernetes, macOS, Windows, file systems and Git leave in a directory."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """One model version on disk: a directory and its manifest, already read."""

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read the manifest at `path`; files are verified when they are read.

        A checkpoint directory that the guide's converter wrote to holds its artifact in `onnx/artifact`
        or `artifact`; those are found too.

        Raises:
            ArtifactNotFoundError: there is no manifest.
            ManifestError: the manifest is not understood.
        """
        candidates = (path, path / GUIDE_ARTIFACT, path / ONNX_DIRECTORY / GUIDE_ARTIFACT)
        for directory in candidates:
            try:
                with _plain_file(directory, MANIFEST) as stream:
                    text = stream.read()
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise ArtifactError(f"{directory / MANIFEST} cannot be read: {error.strerror}.") from None
            return cls(directory, Manifest.from_json(text))
        raise ArtifactNotFoundError(
            f"no artifact at {path}: {MANIFEST} is not there. Make one with `pointsman export CHECKPOINT`."
        )

    def read(self, name: str) -> bytes:
        """The bytes of one file, verified.

        Raises:
            IntegrityError: not listed, missing, or not what the manifest says.
        """
        return b"".join(self.read_blocks(name))

    def read_blocks(self, name: str) -> list[bytes]:
        """The same in blocks of at most 1 MiB, for a reader that gives them up one by one."""
        expected = self._expected(name)
        blocks, size, sha = [], 0, hashlib.sha256()
        try:
            with _plain_file(self.path, name) as stream:
                # A longer file is told by its next block, whatever its length.
                while size <= expected.size_bytes and (block := stream.read(BLOCK_BYTES)):
                    blocks.append(block)
                    size += len(block)
                    sha.update(block)
        except OSError as error:
            raise IntegrityError(f"{name} in {self.path} cannot be read: {error.strerror}.") from None
        self._compare(name, expected, FileDigest(size, sha.hexdigest()))
        return blocks

    def verify(self, *, listed_only: bool = False) -> list[str]:
        """Check every file against the manifest, in constant memory.

        Args:
            listed_only: check the files that the manifest lists, and ignore others.

        Returns:
            Files that tools leave in any folder (`.DS_Store`, `.cache/huggingface`); no router reads them.

        Raises:
            IntegrityError: a file is missing or altered, or not listed and none of those.
        """
        for name, expected in self.manifest.files.items():
            try:
                with _plain_file(self.path, name) as stream:
                    found = digest_stream(stream)
            except OSError as error:
                raise IntegrityError(f"{name} in {self.path} cannot be read: {error.strerror}.") from None
            self._compare(name, expected, found)
        unlisted = [] if listed_only else self._unlisted()
        left = [name for name in unlisted if _LEFT_BY_TOOLS.search(name)]
        if strangers := sorted(set(unlisted) - set(left)):
            raise IntegrityError(f"{self.path} holds files that its manifest does not list: {strangers}.")
        return left

    def _unlisted(self) -> list[str]:
        # A Kubernetes volume links a listed folder (onnx) to where its files are.
        listed = {*self.manifest.files, MANIFEST}
        listed |= {parent.as_posix() for name in listed for parent in PurePosixPath(name).parents}
        found = (p for p in self.path.rglob("*") if p.is_symlink() or not p.is_dir())
        return sorted({p.relative_to(self.path).as_posix() for p in found} - listed)

    def _expected(self, name: str) -> FileDigest:
        if name not in self.manifest.files:
            raise IntegrityError(
                f"{name} is not a file of {self.path} (it lists {sorted(self.manifest.files)})."
            )
        return self.manifest.files[name]

    def _compare(self, name: str, expected: FileDigest, found: FileDigest) -> None:
        if found != expected:
            raise IntegrityError(
                f"{name} in {self.path} is not the file that was built: "
                f"expected {expected.size_bytes} bytes, sha256 {expected.sha256[:12]}…, "
                f"found {found.size_bytes} bytes, {found.sha256[:12]}…. "
                "Fetch or export it again."
            )


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """A hidden directory beside `target`, removed if the block fails or does not seal it.

    What a killed process left beside `target` is removed first.

    Raises:
        OutputExistsError: `target` is there and not an empty directory.
        ArtifactError: the directory cannot be made.
    """
    refuse_existing(target)
    remove_stale(target.parent, f".{glob.escape(target.name)}.*.partial")
    stage = _stage_of(target)
    try:
        stage.mkdir(parents=True)
    except OSError as error:
        raise _no_place(target, error) from None
    try:
        with stage_lock(stage):
            yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def require_place(target: Path) -> None:
    """Raise now what writing an artifact at `target` would raise after the work that makes it.

    Raises:
        OutputExistsError: see `refuse_existing`.
        ArtifactError: nothing can be written where it shall be.
    """
    try:
        refuse_existing(target)
        there = next(folder for folder in target.absolute().parents if folder.exists())
        trial = there / _stage_of(target).name
        trial.mkdir()
        trial.rmdir()
    except OSError as error:
        raise _no_place(target, error) from None


def _stage_of(target: Path) -> Path:
    return target.parent / f".{target.name}.{secrets.token_hex(4)}.partial"


def _no_place(target: Path, error: OSError) -> ArtifactError:
    return ArtifactError(f"cannot write beside {target}: {error.strerror}. Choose another --output.")


def refuse_existing(target: Path) -> None:
    """Raise OutputExistsError where `target` is taken, or cannot be renamed to.

    Artifacts are never edited or overwritten.
    """
    if target.is_symlink() or (target.exists() and not (target.is_dir() and not any(target.iterdir()))):
        raise OutputExistsError(
            f"{target} exists. Artifacts are immutable: choose another --output, or remove it."
        )
    if target.exists() and (os.path.ismount(target) or target.samefile(Path())):
        raise OutputExistsError(
            f"{target.absolute()} is a mount point or the working directory, which no rename can replace. "
            f"Choose a directory in it: {target / 'router'}"
        )


def seal(stage: Path, target: Path, manifest: Manifest) -> Artifact:
    """Turn a staged directory into the artifact at `target`: hash, sync, manifest last, rename.

    Args:
        stage: a directory from `staged`, holding every file but the manifest.
        manifest: what to write; its `files` are filled in here.

    Raises:
        OutputExistsError: another process wrote it first.
        ArtifactError: the disk refused.
    """
    names = sorted(p.relative_to(stage).as_posix() for p in stage.rglob("*") if p.is_file())
    files = {name: digest_file(stage / name) for name in names}
    return _appear(stage, target, replace(manifest, files=files))


def _appear(stage: Path, target: Path, manifest: Manifest) -> Artifact:
    """`seal` once the digests are known."""
    try:
        (stage / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
        for name in (*manifest.files, MANIFEST):
            sync(stage / name)
        for directory in {stage, *((stage / name).parent for name in manifest.files)}:
            sync(directory)
        refuse_existing(target)
        stage.rename(target)
        sync(target.parent)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            refuse_existing(target)
        raise ArtifactError(
            f"cannot write {target}: {error.strerror or error}. Nothing was left behind."
        ) from error
    return Artifact(target, manifest)


def create(target: Path, manifest: Manifest, fill: Callable[[Path], None]) -> Artifact:
    """Write the artifact at `target` whole or not at all; `fill` writes every file but the manifest.

    Raises:
        OutputExistsError: `target` is taken.
        ArtifactError: the disk refused.
    """
    with staged(target) as stage:
        try:
            fill(stage)
        except OSError as error:
            raise ArtifactError(
                f"cannot write {target}: {error.strerror or error}. Nothing was left behind."
            ) from error
        # The digests of a copy are those that its files had when they were read.
        return (_appear if manifest.files else seal)(stage, target, manifest)


def copy_artifact(artifact: Artifact, target: Path) -> Artifact:
    """Copy a whole artifact to `target`, verified on the way.

    Raises:
        IntegrityError: a file is not what the manifest says; nothing is written.
        OutputExistsError: `target` is taken.
        ArtifactError: the disk refused.
    """

    def fill(stage: Path) -> None:
        for name in artifact.manifest.files:
            (stage / name).parent.mkdir(parents=True, exist_ok=True)
            (stage / name).write_bytes(artifact.read(name))

    return create(target, artifact.manifest, fill)


def rewrite_manifest(artifact: Artifact, target: Path, manifest: Manifest) -> Artifact:
    """A new artifact at `target` with the same files and another manifest, for example another policy."""
    copied = replace(artifact, manifest=replace(manifest, files=artifact.manifest.files))
    return copy_artifact(copied, target)


def _plain_file(directory: Path, name: str) -> BinaryIO:
    """Open a regular file of an artifact; raises OSError for anything else.

    Links are followed, out of the directory too: the Hub's cache is made of them, and the digest says whether
    the right bytes are behind. A pipe or a device is opened without waiting and refused: reading it would
    never end.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(directory / name, flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a regular file")
    return os.fdopen(descriptor, "rb")
