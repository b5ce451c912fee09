"""Importing the gateway does nothing: no connection, no thread, no process, nothing that makes artifacts."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SERVE = Path(__file__).parents[2] / "src" / "pointsman" / "serve"
_WATCH = """
import importlib, json, sys, threading
watched = ("socket.", "subprocess.Popen", "os.fork", "os.posix_spawn", "pickle.find_class")
seen = []
sys.addaudithook(lambda event, _: seen.append(event) if event.startswith(watched) else None)
threading.Thread.start = lambda thread: seen.append("thread")
for name in sys.argv[1:]:
    importlib.import_module(name)
{more}
print(json.dumps({"seen": seen, "modules": sorted(sys.modules)}))
"""


def imported(more: str = "") -> dict[str, list[str]]:
    names = [
        ".".join(["pointsman.serve", *path.relative_to(SERVE).with_suffix("").parts])
        for path in sorted(SERVE.rglob("*.py"))
        # The plugin is imported by LiteLLM, which is no part of the gateway.
        if path.stem not in ("__init__", "litellm_plugin")
    ]
    code = _WATCH.replace("{more}", more)
    command = [
        sys.executable,
        "-c",
        code,
        "pointsman",
        "pointsman.cli.__main__",
        "pointsman.cli.serve",
        *names,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_importing_the_gateway_connects_starts_and_unpickles_nothing() -> None:
    found = imported()
    assert found["seen"] == []
    heavy = {"torch", "transformers", "onnx", "sklearn", "pyarrow", "ray", "matplotlib", "joblib", "dill"}
    assert not heavy & set(found["modules"])


@pytest.mark.parametrize(
    ("more", "event"),
    [
        ("import socket; socket.socket().close()", "socket.__new__"),
        ("import threading; threading.Timer(0, int).start()", "thread"),
        ("import collections, pickle; pickle.loads(pickle.dumps(collections.Counter))", "pickle.find_class"),
    ],
)  # fmt: skip
def test_the_watch_sees_what_it_watches_for(more: str, event: str) -> None:
    assert event in imported(more)["seen"]
