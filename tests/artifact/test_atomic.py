"""A file is replaced whole or not at all."""

from pathlib import Path

import pytest

from pointsman.artifact.atomic import atomic_write, sync


def test_the_file_changes_when_the_block_ends_and_not_before(tmp_path: Path) -> None:
    path, partial = tmp_path / "file", tmp_path / ".file.tmp"
    path.write_bytes(b"old")
    with atomic_write(path, partial) as stream:
        stream.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_block_that_fails_changes_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(KeyError), atomic_write(path, tmp_path / ".file.tmp") as stream:
        stream.write(b"half")
        raise KeyError
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(FileNotFoundError), atomic_write(missing / "file", missing / ".file.tmp"):
        pass
    with pytest.raises(FileNotFoundError):
        sync(missing)
