"""SHA-256 of files and of an artifact's file table."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class FileDigest:
    """Size in bytes and SHA-256 (64 hexadecimal digits) of one file."""

    size_bytes: int
    sha256: str


def digest_bytes(data: bytes) -> FileDigest:
    """Digest of bytes already in memory."""
    return FileDigest(len(data), hashlib.sha256(data).hexdigest())


def digest_file(path: Path) -> FileDigest:
    """Digest of a file, read in blocks: constant memory."""
    with path.open("rb") as stream:
        return digest_stream(stream)


def digest_stream(stream: BinaryIO) -> FileDigest:
    """Digest of what is left in an open file, read in blocks: constant memory."""
    size, sha = 0, hashlib.sha256()
    while block := stream.read(BLOCK_BYTES):
        size += len(block)
        sha.update(block)
    return FileDigest(size, sha.hexdigest())


def artifact_id(files: Mapping[str, FileDigest]) -> str:
    """The name of a set of files: SHA-256 over their sorted names and digests, 64 hexadecimal digits."""
    table = "".join(f"{name}\0{digest.sha256}\n" for name, digest in sorted(files.items()))
    return hashlib.sha256(table.encode()).hexdigest()
