"""A model's answers to texts, kept on disk text by text: what was read once is never read again.

A directory for a model and its settings holds parts, each with the digests of its texts and their answers. An
interrupted reading goes on after its last part, and runs over other texts share what they have in common.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Answers = NDArray[np.float16]

_PART_TEXTS = 4096
_DIGEST = "V16"


def remembered(texts: Sequence[str], directory: Path, answer: Callable[[Sequence[str]], Answers]) -> Answers:
    """The answers to the texts, float16 (texts, width); those that the directory lacks are made and kept.

    Args:
        texts: what is asked, in any order, repeats allowed.
        directory: of one model and its settings.
        answer: makes the answers, float16 (asked, width); asked for at most 4,096 texts at once.
    """
    digests = np.array([hashlib.sha256(t.encode("utf-8", "replace")).digest()[:16] for t in texts], _DIGEST)
    known, answers = _kept(directory)
    place = {digest.tobytes(): row for row, digest in enumerate(known)}
    missing = {d.tobytes(): t for d, t in zip(digests, texts, strict=True) if d.tobytes() not in place}
    parts = [answers] if len(known) else []
    asked = sorted(missing.items(), key=lambda item: len(item[1]))
    for start in range(0, len(asked), _PART_TEXTS):
        part = asked[start : start + _PART_TEXTS]
        made = answer([text for _, text in part])
        _keep(directory, np.array([digest for digest, _ in part], _DIGEST), made)
        place |= {digest: sum(map(len, parts)) + row for row, (digest, _) in enumerate(part)}
        parts.append(made)
    found: Answers = np.concatenate(parts)[[place[d.tobytes()] for d in digests]]
    return found


def _kept(directory: Path) -> tuple[NDArray[np.void], Answers]:
    parts = [np.load(path, allow_pickle=False) for path in sorted(directory.glob("part-*.npz"))]
    if not parts:
        return np.empty(0, _DIGEST), np.empty((0, 0), np.float16)
    return np.concatenate([p["texts"] for p in parts]), np.concatenate([p["answers"] for p in parts])


def _keep(directory: Path, digests: NDArray[np.void], answers: Answers) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(digests.tobytes()).hexdigest()[:16]
    partial = directory / f".{name}.npz"
    np.savez(partial, texts=digests, answers=answers)
    partial.rename(directory / f"part-{name}.npz")
