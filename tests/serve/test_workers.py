"""Several processes behind one port, as an operator and as the kernel treat them."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.keyword_artifact import build_keyword_artifact
from tests.support.running import Load, Process
from tests.support.tiny_artifact import CLOUD_TEXT
from tests.support.waiting import until

from pointsman.artifact.manifest import Calibration

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")

Spawn = Callable[..., Process]
TWO = ("--workers", "2", "--log-level", "error")


def children(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def live(server: Process) -> dict[str, Any]:
    """What a worker shows once both have answered; each is given a second, too little on a busy machine."""
    shown: list[dict[str, Any]] = []

    def is_whole() -> bool:
        shown.append(httpx.get(f"{server.url}/live.json", trust_env=False, timeout=60).json())
        return bool(shown[-1]["workers"]["answered"] == 2)

    until(is_whole)
    return shown[-1]


def admin_of(server: Process, log: Path) -> httpx.Client:
    """The admin address stands in the log line of the parent, the only one that counts the workers."""

    def found() -> list[str]:
        return [line for line in log.read_text().splitlines() if '"workers": 2' in line]

    # Lines are written at the end of a turn of the event loop, so the greeting may be here before them.
    until(found)
    port = int(found()[0].split('"admin_port": ')[1].split(",")[0])
    return httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False)


def test_all_leave_together_without_losing_a_request(spawn: Spawn) -> None:
    server = spawn(*TWO)
    workers = children(server.process.pid)
    assert len(workers) == 2
    with Load(server.port) as load:
        load.until(200)
        code = server.stop()
    assert (code, load.lost) == (0, 0)
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


def test_who_dies_is_replaced_and_nobody_outlives_the_parent(spawn: Spawn) -> None:
    server = spawn(*TWO)
    before = children(server.process.pid)
    killed = min(before)
    with Load(server.port) as load:
        load.until(20)
        os.kill(killed, signal.SIGKILL)
        load.until(50)
        until(lambda: len(children(server.process.pid) - {killed}) == 2)
    # A request that the killed one was answering may be lost: one per client at most.
    assert load.lost <= 4
    frozen, other = children(server.process.pid)
    os.kill(frozen, signal.SIGSTOP)
    for _ in range(5):
        assert httpx.get(f"{server.url}/livez", timeout=60, trust_env=False).status_code == 200
    os.kill(frozen, signal.SIGCONT)
    assert children(server.process.pid) == {frozen, other}
    server.process.kill()
    server.wait()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in (frozen, other)))


def test_admin_routes_reach_every_worker_and_those_to_come(
    spawn: Spawn, artifact: Path, tmp_path: Path
) -> None:
    server = spawn("--workers", "2", "--admin-port", "0")
    steeper = Calibration("temperature", 2.0, 0.0, 64 * "0", 10)
    second = build_keyword_artifact(tmp_path / "second", steeper).path
    with admin_of(server, tmp_path / "log") as admin, httpx.Client(trust_env=False, timeout=60) as http:
        refused = admin.post("/admin/reload", json={"artifact": str(tmp_path / "nowhere")})
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "reload_refused")
        assert http.post(f"{server.url}/predict", json={"query": CLOUD_TEXT}).status_code == 200
        text = admin.get("/metrics").text
        assert "pointsman_workers 2.0" in text
        for worker in ("0", "1"):
            assert f'pointsman_ready{{worker="{worker}"}} 1.0' in text
        done = admin.post("/admin/reload", json={"artifact": str(second)})
        wanted = done.json()["version"].split("-")[0]
        assert [one["version"].split("-")[0] for one in done.json()["workers"]] == [wanted, wanted]
        killed = min(children(server.process.pid))
        os.kill(killed, signal.SIGKILL)

        def exact() -> list[str]:
            return [one["version"] for one in admin.get("/admin/state").json()["workers"]]

        def versions() -> set[str]:
            return {version.split("-")[0] for version in exact()}

        until(lambda: len(children(server.process.pid) - {killed}) == 2)
        until(lambda: len(exact()) == 2)
        assert versions() == {wanted}
        assert admin.post("/admin/canary", json={"share": 2}).status_code == 400
        assert admin.post("/admin/threshold", json={"threshold": 0.99999}).status_code == 200
        for _ in range(8):
            assert http.post(f"{server.url}/predict", json={"query": CLOUD_TEXT}).json()["target"] == "local"
        assert admin.get("/readyz").status_code == 200
        assert admin.get("/nothing").status_code == 404
        loaded = exact()
        server.process.send_signal(signal.SIGHUP)
        until(lambda: all(now != then for now, then in zip(exact(), loaded, strict=True)))
        assert versions() == {wanted}
    assert server.stop() == 0


def test_no_other_program_reaches_a_workers_own_admin_routes(spawn: Spawn, tmp_path: Path) -> None:
    server = spawn("--workers", "2")

    def ports() -> list[str]:
        return re.findall('"admin_port": ([0-9]+)', (tmp_path / "log").read_text())

    until(lambda: len(ports()) == 2)
    for port in ports():
        for path in ("/admin/state", "/admin/live", "/metrics"):
            assert httpx.get(f"http://127.0.0.1:{port}{path}", trust_env=False, timeout=60).status_code == 401
    live(server)


@pytest.mark.parametrize("admin_key", [None, "9f2c47d1a86b4e30b5c8f7a1d2e3946b"])
def test_every_worker_shows_what_all_have_seen(spawn: Spawn, admin_key: str | None) -> None:
    keys = {} if admin_key is None else {"POINTSMAN_AUTH__ADMIN_KEYS": json.dumps([admin_key])}
    server = spawn(*TWO, **keys)
    questions = 12
    for index in range(questions):
        body = {"query": f"{CLOUD_TEXT} {index}"}
        assert httpx.post(f"{server.url}/predict", json=body, trust_env=False, timeout=60).status_code == 200
    for _ in range(6):
        one = live(server)
        assert one["workers"] == {"answered": 2, "of": 2}
        assert (one["requests"], one["targets"]["cloud"], len(one["recent"])) == (12, 12, 12)
        assert sum(second["cloud"] for second in one["seconds"]) == questions
        assert [e["time"] for e in one["recent"]] == sorted((e["time"] for e in one["recent"]), reverse=True)
        assert one["cache"]["misses"] == questions
    frozen = min(children(server.process.pid))
    os.kill(frozen, signal.SIGSTOP)
    alone = httpx.get(f"{server.url}/live.json", trust_env=False, timeout=60).json()
    os.kill(frozen, signal.SIGCONT)
    assert alone["workers"] == {"answered": 1, "of": 2}


def test_a_bad_artifact_is_one_line_and_exit_code_3(artifact: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    shutil.copytree(artifact, bad)
    with (bad / "tokenizer.json").open("ab") as stream:
        stream.write(b" ")
    command = [sys.executable, "-m", "pointsman", "serve", *TWO, "--port", "0", "--admin-port", "none"]
    done = subprocess.run(
        [*command, "--artifact", str(bad)], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "", 1)
    assert "tokenizer.json" in done.stderr
