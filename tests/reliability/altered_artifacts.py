"""Artifacts to reload: the shipped one, its mirror image, and broken copies of it."""

import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pointsman.artifact.address import shipped_artifact
from pointsman.artifact.layout import MANIFEST
from pointsman.artifact.store import Artifact, copy_artifact, rewrite_manifest
from pointsman.labels import LabelSet


def pair(folder: Path) -> tuple[Artifact, Artifact]:
    """The shipped artifact, and the same files with the labels in the other order: p becomes 1 - p."""
    shipped = Artifact.open(shipped_artifact())
    names = tuple(reversed(shipped.manifest.labels.names))
    swapped = replace(shipped.manifest, labels=LabelSet(names), calibration=None)
    plain = rewrite_manifest(shipped, folder / "plain", replace(shipped.manifest, calibration=None))
    return plain, rewrite_manifest(shipped, folder / "mirror", swapped)


def broken(folder: Path, n: int, draw: random.Random) -> Iterator[tuple[str, Path]]:
    """`n` copies of the shipped artifact, each broken in one way; each is gone when the next is asked for."""
    shipped = Artifact.open(shipped_artifact())
    names = sorted(shipped.manifest.files)
    for index in range(n):
        path = folder / f"broken-{index}"
        copy_artifact(shipped, path)
        victim = path / draw.choice([MANIFEST, *names])
        kind = ("flip", "cut", "append", "remove", "link", "folder", "empty")[index % 7]
        data = victim.read_bytes()
        if kind == "flip":
            place = draw.randrange(len(data))
            victim.write_bytes(
                data[:place] + bytes([data[place] ^ 1 << draw.randrange(8)]) + data[place + 1 :]
            )
        elif kind == "cut":
            victim.write_bytes(data[: draw.randrange(len(data))])
        elif kind == "append":
            victim.write_bytes(data + b" ]")
        elif kind == "remove":
            victim.unlink()
        elif kind == "link":
            victim.unlink()
            victim.symlink_to("/etc/hostname")
        elif kind == "folder":
            victim.unlink()
            victim.mkdir()
        else:
            victim.write_bytes(b"")
        yield kind, path
        shutil.rmtree(path)
