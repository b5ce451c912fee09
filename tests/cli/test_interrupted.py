"""Ctrl-C at any import of a command: one line, exit code 130, and never a traceback."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.running import environment

CHECKPOINT = Path(__file__).parents[2] / "checkpoints" / "default-router"

_AT_AN_IMPORT = """
import os, runpy, signal, sys
name = sys.argv.pop(1)
# Python runs the handler soon after, in the middle of the import.
sys.addaudithook(lambda event, facts: event == "import" and facts[0] == name and os.kill(os.getpid(), 2))
runpy.run_module("pointsman", run_name="__main__", alter_sys=True)
"""


def interrupted(name: str, *words: str, **how: object) -> subprocess.CompletedProcess[str]:
    """`pointsman WORDS`, with Ctrl-C where it imports this module."""
    command = [sys.executable, "-c", _AT_AN_IMPORT, name, *words]
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment(), **how
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pointsman.cli.__main__", ["route", "hello"]),
        ("argparse", ["--help"]),
        ("pointsman.cli.policy_flags", ["--version"]),
        ("numpy", ["route", "hello"]),
        ("numpy._core._multiarray_umath", ["route", "hello"]),
        # This extension module turns Ctrl-C into an ImportError.
        ("onnxruntime.capi.onnxruntime_pybind11_state", ["route", "hello"]),
        ("uvicorn", ["serve", "--demo"]),
        pytest.param("onnx", ["export", str(CHECKPOINT)], marks=pytest.mark.torch),
    ],
)
def test_ctrl_c_while_modules_are_imported(name: str, words: list[str], tmp_path) -> None:
    done = interrupted(name, *words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.endswith("interrupted; nothing was left half-written\n")
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals are ignored by the parent there")
def test_a_process_that_was_started_to_ignore_ctrl_c_ignores_it(tmp_path) -> None:
    """As a shell starts what runs in the background."""
    ignore = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)}
    done = interrupted("argparse", "--version", cwd=tmp_path, **ignore)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("pointsman ")
