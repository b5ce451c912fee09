"""docs/from-traffic-to-router.md, followed as written, with a small base and a free port."""

import contextlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from tests.support.fault_upstream import free_port
from tests.support.tiny_mobilebert import tiny_mobilebert
from tests.support.waiting import until

from pointsman.cli.__main__ import main
from pointsman.runtime.router import Router

GUIDE = Path(__file__).parents[2] / "docs" / "from-traffic-to-router.md"

pytestmark = [pytest.mark.torch, pytest.mark.slow]


def blocks(language: str, port: int) -> list[str]:
    text = GUIDE.read_text(encoding="utf-8").partition("## With Ollama")[0].replace("9100", str(port))
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


def is_listening(port: int) -> bool:
    with contextlib.suppress(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/", trust_env=False, timeout=60)
        return True
    return False


def test_a_csv_becomes_a_promoted_router(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    port = free_port()
    pair, log = blocks("python", port)
    Path("pair.py").write_text(pair)
    exec(compile(log, "from-traffic-to-router.md", "exec"), {})
    words = {word for line in Path("tickets.csv").read_text().splitlines() for word in line.split()}
    tiny_mobilebert(Path("default-router"), sorted(words))
    running = subprocess.Popen([sys.executable, "pair.py"])
    try:
        until(lambda: is_listening(port))
        for command in "".join(blocks("sh", port)).splitlines():
            words_of_it = shlex.split(command)
            assert words_of_it[0] == "pointsman"
            # As written, but for the threads, of which another test beside this one wants some.
            one_thread = ["--threads", "1"] if words_of_it[1] == "fit" else []
            assert main([*words_of_it[1:], *one_thread]) == 0, command
    finally:
        running.terminate()
        running.wait(60)
    said = capsys.readouterr().out
    assert "It beats query length" in said
    assert "cloud" in said.splitlines()[-1]
    decisions = Router.open(Path("registry/stable")).route_many(
        ["tell me about the outage now", "tell me about the badge now"]
    )
    assert [decision.target for decision in decisions] == ["cloud", "local"]
