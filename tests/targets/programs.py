"""Packaged programs that read a text a line: built by their own Makefile, and what they decide."""

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.targets.comparing import label_of, ort_place

WARNINGS = "-O2 -Wall -Wextra -Werror"


def built(folder: Path, flags: str) -> Path:
    """The program of a packaged folder, compiled with the flags (`CFLAGS=...`) unless it is there."""
    if not (folder / "router").exists():
        command = ["make", f"ORT={ort_place()}", flags]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    return folder / "router"


def decided(
    run: Callable[[bytes], "subprocess.CompletedProcess[bytes]"], texts: Sequence[str]
) -> list[dict[str, Any]]:
    """What a program says of each text: given as lines, since to a tokenizer a line's end is a space."""
    lines = [text.replace("\n", " ") for text in texts]
    done = run("".join(f"{line}\n" for line in lines).encode())
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in done.stdout.decode().splitlines()]
    return [
        {"label": label_of(float(p)), "target": target, "p_cloud": float(p), "tokens": int(tokens)}
        for target, p, tokens in rows
    ]
