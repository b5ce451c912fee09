"""The command line in a process of its own, as a shell runs it."""

import os
import subprocess
import sys
from pathlib import Path

COMMAND = [sys.executable, "-m", "pointsman"]


def environment(**names: str) -> dict[str, str]:
    """This process's environment without settings of the router."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("BERT_", "POINTSMAN_"))}
    return {**kept, **names}


def run(*words: str, cwd: Path, given: str | bytes = "", **names: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*COMMAND, *words],
        cwd=cwd,
        input=given.encode() if isinstance(given, str) else given,
        capture_output=True,
        env=environment(**names),
        check=False,
        timeout=120,
    )
