"""`/predict` of this checkout against an older one's: same artifact, same client, in turns."""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from socket import socket
from typing import Any

from benchmarks.batch.texts import short_queries

HERE = Path(__file__).resolve().parents[2]
CLIENTS = 32
SECONDS = 8
BODIES = 60_000
"""Different texts, more than a run asks for: no answer comes from the cache."""
NEWER_KEYS = ("scripts", "sha256")
LUA = """
local texts, n = {}, 0
for line in io.lines("BODIES") do texts[#texts + 1] = line end
request = function()
  n = n + 1
  return wrk.format("POST", "/predict", {["content-type"] = "application/json"}, texts[n % #texts + 1])
end
done = function(s, l, r)
  local bad = s.errors.status + s.errors.timeout + s.errors.connect
  io.write(string.format("RESULT %f %f %f %d\\n", (s.requests - bad) / (s.duration / 1e6),
    l:percentile(50) / 1e3, l:percentile(99) / 1e3, bad))
end
"""


def gateway(args: argparse.Namespace) -> dict[str, Any]:
    """Rate, p50 and p99 of both, in turns, on the same model."""
    if args.base is None or shutil.which("wrk") is None:
        raise SystemExit("the part `gateway` needs --base CHECKOUT and `wrk` on the path")
    artifact = (args.artifact or HERE / "src" / "pointsman" / "shipped").resolve()
    commit = subprocess.run(
        ["git", "-C", args.base, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        script = _script(Path(folder))
        artifacts = {HERE: artifact, args.base: _for_older_code(artifact, Path(folder) / "artifact")}
        for turn in range(args.rounds):
            order = (args.base, HERE) if turn % 2 == 0 else (HERE, args.base)
            found = {checkout: _load(checkout, artifacts[checkout], script) for checkout in order}
            rounds.append({"base": found[args.base], "this": found[HERE]})
            print(rounds[-1], file=sys.stderr, flush=True)
    return {"base": commit, "clients": CLIENTS, "seconds": SECONDS, "rounds": rounds}


def _script(folder: Path) -> Path:
    bodies, script = folder / "bodies.txt", folder / "load.lua"
    texts = dict.fromkeys(islice(short_queries(1), 2 * BODIES))
    bodies.write_text("".join(json.dumps({"inputs": text}) + "\n" for text in texts), encoding="utf-8")
    script.write_text(LUA.replace("BODIES", str(bodies)), encoding="utf-8")
    return script


def _for_older_code(artifact: Path, folder: Path) -> Path:
    """The same files; the manifest without the keys that older code does not know."""
    shutil.copytree(artifact, folder)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    kept = {key: value for key, value in manifest.items() if key not in NEWER_KEYS}
    (folder / "manifest.json").write_text(json.dumps(kept), encoding="utf-8")
    return folder


def _load(checkout: Path, artifact: Path, script: Path) -> dict[str, float]:
    with _serving(checkout, artifact) as port:
        _wrk(port, script, 3)
        return _wrk(port, script, SECONDS)


def _wrk(port: int, script: Path, seconds: int) -> dict[str, float]:
    command = ["wrk", "-t1", f"-c{CLIENTS}", f"-d{seconds}", "-s", str(script), f"http://127.0.0.1:{port}/"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"RESULT (\S+) (\S+) (\S+) (\d+)", printed)
    if found is None:
        raise SystemExit(f"wrk printed no result: {printed}")
    rate, p50, p99, errors = map(float, found.groups())
    return {"per_second": rate, "p50_ms": p50, "p99_ms": p99, "errors": errors}


@contextmanager
def _serving(checkout: Path, artifact: Path) -> Iterator[int]:
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    command = [sys.executable, "-m", "pointsman", "serve", "--port", str(port), "--admin-port", "none"]
    process = subprocess.Popen(
        [*command, "--artifact", str(artifact), "--log-level", "error"],
        env={**os.environ, "PYTHONPATH": str(checkout / "src")},
        stdout=subprocess.DEVNULL,
        cwd=artifact,
    )
    try:
        _wait_until_ready(port)
        yield port
    finally:
        process.terminate()
        process.wait()


def _wait_until_ready(port: int) -> None:
    for _ in range(240):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.25)
    raise SystemExit("the gateway was not ready within a minute")
