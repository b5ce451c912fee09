"""Ctrl-C at any import of a command: one line, exit code 130, and never a traceback."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.cli.running import environment

CHECKPOINT = Path(__file__).parents[2] / "checkpoints" / "default-router"

_AT_AN_IMPORT = """
import os, runpy, signal, sys
signals = dict(pair.split("=") for pair in sys.argv.pop(1).split(","))

def strike(event, facts):
    name = os.path.basename(str(facts[0])) if event in ("import", "open") else ""
    if name in signals:
        # Python runs the handler soon after, in the middle of the import.
        os.kill(os.getpid(), int(signals.pop(name)))

sys.addaudithook(strike)
runpy.run_module("pointsman", run_name="__main__", alter_sys=True)
"""


def interrupted(name: str, *words: str, **how: object) -> subprocess.CompletedProcess[str]:
    """`pointsman WORDS`, with Ctrl-C where it imports this module."""
    command = [sys.executable, "-c", _AT_AN_IMPORT, f"{name}={int(signal.SIGINT)}", *words]
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment(),
        timeout=60,
        **how,
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


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGHUP there")
def test_until_the_gateway_serves_sigterm_ends_it_and_sighup_does_not(tmp_path) -> None:
    signals = f"uvicorn={int(signal.SIGHUP)},onnxruntime={int(signal.SIGTERM)}"
    command = [sys.executable, "-c", _AT_AN_IMPORT, signals, "serve", "--demo", "--port", "0"]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment(),
        cwd=tmp_path,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGHUP there")
def test_a_reload_that_is_asked_for_while_the_artifact_is_loaded_comes_after(tmp_path) -> None:
    signals = f"manifest.json={int(signal.SIGHUP)}"
    command = [sys.executable, "-c", _AT_AN_IMPORT, signals, "serve", "--demo", "--port", "0"]
    with subprocess.Popen(
        [*command, "--admin-port", "none"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(), cwd=tmp_path,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        # Only a gateway that never reloads is still there then.
        limit = threading.Timer(60, process.kill)
        limit.start()
        try:
            assert process.stdout.readline().startswith("pointsman listens on ")
            assert any("reload done" in line for line in process.stderr)
            process.terminate()
            assert process.wait() == 0
        finally:
            limit.cancel()
            process.kill()
