"""Files that make the tokenizer library panic or allocate without end: refused, or unread, no worse."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.reliability.tokenizer_mutations import CRAFTED

pytest.importorskip("resource")


def test_a_file_made_to_hurt_is_refused_or_unread() -> None:
    command = [
        sys.executable,
        "-m",
        "tests.reliability.tokenizer_mutations",
        "1",
        "0",
        str(len(CRAFTED) + 40),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = [json.loads(line)["outcome"] for line in done.stdout.splitlines()]
    assert len(found) == len(CRAFTED) + 40
    assert set(found) == {"read", "refused", "unread"}
    assert "panicked" in done.stderr, "none of them made the library panic: they test nothing"
