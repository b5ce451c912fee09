"""What an operator does: probe, watch, reload, compare, stop."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from tests.support.fake_upstream import STREAM_HEAD, FakeUpstream, Wire, answer, chunk, delta, free_port
from tests.support.keyword_artifact import build_keyword_artifact
from tests.support.running import Load, Process, Running, settings_for
from tests.support.tiny_artifact import CLOUD_TEXT, build_tiny_artifact
from tests.support.waiting import until

from pointsman.artifact.hub import HubAddress
from pointsman.artifact.manifest import Calibration
from pointsman.artifact.registry import Registry
from pointsman.artifact.store import Artifact

Start = Callable[..., Running]


class TestReload:
    def test_another_version_answers_and_requests_go_on(self, artifact: Path, start: Start) -> None:
        gateway = start(settings_for(artifact))
        before = gateway.http.post("/predict", json={"query": CLOUD_TEXT}).json()
        assert gateway.admin.post("/admin/reload").status_code == 200
        after = gateway.http.post("/predict", json={"query": CLOUD_TEXT}).json()
        assert before.pop("version") != after.pop("version")
        assert before == after

    @pytest.mark.parametrize("fault", ["gone", "altered", "cut", "manifest"])
    def test_a_broken_artifact_is_refused_and_the_old_one_serves(
        self, tmp_path: Path, start: Start, fault: str
    ) -> None:
        path = build_tiny_artifact(tmp_path / "router").path
        gateway = start(settings_for(path))
        version = gateway.http.get("/info").json()["version"]
        model = path / "onnx" / "model_optimized.onnx"
        if fault == "gone":
            shutil.rmtree(path)
        elif fault == "altered":
            data = bytearray(model.read_bytes())
            data[len(data) // 2] ^= 1
            model.write_bytes(data)
        elif fault == "cut":
            model.write_bytes(model.read_bytes()[:-1])
        else:
            (path / "manifest.json").write_text("{}")
        found = gateway.admin.post("/admin/reload")
        assert (found.status_code, found.json()["error"]["code"]) == (409, "reload_refused")
        assert str(tmp_path) not in found.text
        now = gateway.http.post("/predict", json={"query": CLOUD_TEXT}).json()
        assert (now["target"], now["version"]) == ("cloud", version)

    def test_files_that_no_router_reads_do_not_stop_a_reload(self, tmp_path: Path, start: Start) -> None:
        path = build_tiny_artifact(tmp_path / "router").path
        for name in (".DS_Store", "notes.txt"):
            (path / name).touch()
        assert start(settings_for(path)).admin.post("/admin/reload").status_code == 200

    def test_an_alias_is_looked_up_again(self, artifact: Path, tmp_path: Path, start: Start) -> None:
        registry = Registry(tmp_path / "registry")
        registry.publish(Artifact.open(artifact), "first")
        registry.promote("first")
        gateway = start(settings_for(registry.path / "stable"))
        before = gateway.http.get("/info").json()["model_sha"]
        steeper = Calibration("temperature", 2.0, 0.0, 64 * "0", 10)
        registry.publish(build_keyword_artifact(tmp_path / "second", steeper), "second")
        registry.promote("second")
        assert gateway.http.get("/info").json()["model_sha"] == before
        assert gateway.admin.post("/admin/reload").json() == {"version": "second"}
        assert gateway.http.post("/predict", json={"query": "x"}).headers["x-pointsman-version"] == "second"
        assert 'version="second"' in gateway.admin.get("/metrics").text
        assert gateway.http.get("/live.json").json()["model"]["version"] == "second"
        after = gateway.http.get("/info").json()["model_sha"]
        assert after == registry.open().manifest.id != before
        registry.rollback()
        assert gateway.admin.post("/admin/reload").status_code == 200
        assert gateway.http.get("/info").json()["model_sha"] == before
        body = {"artifact": str(registry.path / "unheard-of")}
        assert gateway.admin.post("/admin/reload", json=body).status_code == 409


class TestTheHub:
    @pytest.fixture
    def fetched(self, artifact: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """What was asked of the Hub; every address answers the tiny router."""
        asked: list[str] = []

        def fetch(address: HubAddress) -> Path:
            asked.append(str(address))
            return artifact

        monkeypatch.setattr("pointsman.artifact.hub.fetch", fetch)
        return asked

    def test_a_threshold_is_served_from_the_next_text_on_and_after_a_reload(
        self, artifact: Path, start: Start
    ) -> None:
        gateway = start(settings_for(artifact, routing={"confidence_threshold": 0.9, "safe_target": "cloud"}))

        def asked() -> tuple[str, str]:
            said = gateway.http.post("/predict", json={"query": CLOUD_TEXT}).json()
            return said["target"], said["version"]

        target, before = asked()
        done = gateway.admin.post("/admin/threshold", json={"threshold": 1.0})
        assert (target, done.json()["threshold"]) == ("cloud", 1.0)
        assert asked() == ("local", done.json()["version"]) != before
        assert gateway.http.get("/live.json").json()["policy"]["effective_threshold"] == 1.0
        assert gateway.admin.post("/admin/reload", json={}).status_code == 200
        assert asked()[0] == "local"
        for wrong in (None, True, "0.5", 1.5, -0.1):
            assert gateway.admin.post("/admin/threshold", json={"threshold": wrong}).status_code == 400
        assert gateway.http.post("/admin/threshold", json={"threshold": 0.1}).status_code == 403
        assert asked()[0] == "local"

    @pytest.mark.parametrize("path", ["/admin/reload", "/admin/canary"])
    @pytest.mark.parametrize("address", ["hub:some/router", "./hub:some/router", "hub:some/router@main"])
    def test_a_request_fetches_nothing_that_the_settings_do_not_name(
        self, artifact: Path, start: Start, fetched: list[str], path: str, address: str
    ) -> None:
        gateway = start(settings_for(artifact))
        found = gateway.admin.post(path, json={"artifact": address})
        assert (found.status_code, found.json()["error"]["code"]) == (403, "forbidden")
        assert not fetched

    def test_what_the_settings_name_is_fetched_again(
        self, artifact: Path, start: Start, fetched: list[str]
    ) -> None:
        gateway = start(settings_for(Path("hub:our/router")))
        for body in ({}, {"artifact": "hub:our/router"}, {"artifact": str(artifact)}, {"artifact": None}):
            assert gateway.admin.post("/admin/reload", json=body).status_code == 200
        # Once at the start and once for each of the first two; then a local one is what is looked up again.
        assert fetched == ["hub:our/router@main"] * 3

    def test_or_anything_where_the_operator_lets_it(
        self, artifact: Path, start: Start, fetched: list[str]
    ) -> None:
        gateway = start(settings_for(artifact, server={"admin_may_fetch": True}))
        assert gateway.admin.post("/admin/reload", json={"artifact": "hub:some/router"}).status_code == 200
        assert fetched == ["hub:some/router@main"]


class TestASecondArtifact:
    def test_a_canary_decides_its_share(self, artifact: Path, start: Start) -> None:
        gateway = start(settings_for(artifact))
        body = {"artifact": str(artifact), "share": 1.0}
        state = gateway.admin.post("/admin/canary", json=body).json()
        found = gateway.http.post("/predict", json={"query": CLOUD_TEXT}).json()
        assert found["version"] == state["second"] != state["version"]
        assert gateway.admin.post("/admin/canary", json={"artifact": None}).json()["second"] is None
        assert gateway.http.post("/predict", json={"query": CLOUD_TEXT}).json()["version"] == state["version"]

    def test_a_shadow_is_compared_and_answers_nothing(self, artifact: Path, start: Start) -> None:
        gateway = start(settings_for(artifact, inference={"canary_artifact": str(artifact), "shadow": True}))
        version = gateway.http.post("/predict", json={"query": CLOUD_TEXT}).json()["version"]

        def shadow() -> dict[str, object]:
            return dict(gateway.admin.get("/admin/state").json()["shadow"])

        until(lambda: shadow()["compared"])
        assert shadow() == {"on": True, "compared": 1, "disagreed": 0, "to_local": 0, "to_cloud": 0}
        assert version == gateway.gateway.engine.current.version

    @pytest.mark.parametrize("body", [{"share": 2}, {"share": True}, {"shadow": 1}, {"artifact": "/nowhere"}])
    def test_nonsense_is_refused(self, plain: Running, body: object) -> None:
        assert plain.admin.post("/admin/canary", json=body).status_code in (400, 409)


@pytest.mark.parametrize(
    "path", ["/livez", "/readyz", "/health", "/healthz", "/ready", "/ping", "/v2/health/live"]
)
def test_every_spelling_of_health(plain: Running, path: str) -> None:
    assert plain.http.get(path).status_code == plain.admin.get(path).status_code == 200
    assert plain.http.head(path).content == b""


def test_metrics_are_prometheus(plain: Running) -> None:
    plain.http.post("/predict", json={"query": CLOUD_TEXT})
    text = plain.admin.get("/metrics").text
    for name in ("pointsman_decisions_total", "pointsman_p_cloud_bucket", "pointsman_queue_depth"):
        assert name in text


def test_a_full_queue_refuses_at_once_and_says_when_to_come_back(artifact: Path, start: Start) -> None:
    gateway = start(settings_for(artifact, limits={"queue": 2}, inference={"max_batch": 1, "cache_size": 0}))
    go, router = threading.Event(), gateway.gateway.engine.current.router
    decide = router.route_many

    def slow(texts: list[str]) -> object:
        assert go.wait(60)
        return decide(texts)

    router.route_many = slow  # type: ignore[method-assign, assignment]
    statuses: list[int] = []

    def ask() -> None:
        url = str(gateway.http.base_url.join("/predict"))
        statuses.append(httpx.post(url, json={"query": "plan"}, timeout=60, trust_env=False).status_code)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for index, thread in enumerate(threads):
        thread.start()
        until(lambda: gateway.gateway.in_flight == index + 1)  # noqa: B023 - called before the next one
        until(lambda: gateway.gateway.engine.batcher.depth == index)  # noqa: B023
    found = gateway.http.post("/predict", json={"query": "plan"})
    assert (found.status_code, found.json()["error"]["code"]) == (503, "overloaded")
    assert int(found.headers["retry-after"]) >= 1
    assert found.headers["x-should-retry"] == "true"
    assert gateway.http.get("/livez").status_code == 200
    go.set()
    for thread in threads:
        thread.join()
    assert statuses == [200, 200, 200]


class TestStopping:
    def test_no_request_is_lost(self, spawn: Callable[..., Process]) -> None:
        server = spawn("--log-level", "error")
        with Load(server.port) as load:
            load.until(100)
            code = server.stop()
        assert (code, load.lost) == (0, 0)

    def test_a_stream_that_outlasts_the_grace_is_told_so(
        self, spawn: Callable[..., Process], cloud: FakeUpstream
    ) -> None:
        def endless(wire: Wire) -> None:
            wire.send(STREAM_HEAD + chunk(delta("x")))
            wire.wait_for_close()

        cloud.script = endless
        server = spawn(
            "--cloud-url",
            cloud.url,
            "--log-level",
            "error",
            POINTSMAN_SERVER__GRACE_S="0.1",
            POINTSMAN_SERVER__DRAIN_DELAY_S="0",
        )
        body = {"model": "cloud", "stream": True, "messages": []}
        with httpx.stream(
            "POST", f"{server.url}/v1/chat/completions", json=body, trust_env=False, timeout=60
        ) as found:
            pieces = found.iter_raw()
            got = next(pieces)
            server.process.send_signal(signal.SIGTERM)
            got += b"".join(pieces)
        assert server.wait() == 0
        last = got.strip().split(b"\n\n")[-1]
        assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == "draining"

    def test_nothing_of_a_text_or_a_key_is_in_the_log(
        self, spawn: Callable[..., Process], tmp_path: Path, cloud: FakeUpstream
    ) -> None:
        client, own = "client-4f7a9c1e3b5d7f9a1c3e5b7d", "upstream-8d6b4f2a0c9e7b5d3f1a"
        server = spawn("--cloud-url", cloud.url, "--cloud-key-env", "OWN", "--log-level", "debug", OWN=own)
        canary = "canary9f"
        headers = {"authorization": f"Bearer {client}"}
        chat = {"model": "cloud", "messages": [{"role": "user", "content": canary}]}
        with httpx.Client(base_url=server.url, headers=headers, trust_env=False, timeout=60) as http:
            for script in (answer(), answer(500), lambda wire: wire.reset()):
                cloud.script = script
                http.post("/v1/chat/completions", json=chat)
                http.post("/v1/chat/completions", json={**chat, "model": canary})
            http.post(f"/predict?query={canary}")
            http.post("/predict", content=f'{{"query": "{canary}'.encode())
            http.get(f"/{canary}", headers={"x-request-id": f"{canary} x"})
        assert server.stop() == 0
        log = (tmp_path / "log").read_text()
        assert log.count('"event": "request"') >= 9
        for secret in (canary, client, own, str(cloud.port)):
            assert secret not in log


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_nowhere_to_write_to_is_no_reason_to_stop(artifact: Path, workers: str) -> None:
    port = str(free_port())
    command = [sys.executable, "-m", "pointsman", "serve", "--artifact", str(artifact), "--port", port]
    command += ["--admin-port", "none", "--workers", workers]
    # Python buffers what it could not write, and fails at its exit, unless the environment says otherwise.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with (
        Path("/dev/full").open("wb") as full,
        subprocess.Popen(command, stdout=full, stderr=full, env=environment) as process,
    ):
        answers: list[httpx.Response] = []

        def is_answered() -> bool:
            assert process.poll() is None
            with contextlib.suppress(httpx.ConnectError):
                address, question = f"http://127.0.0.1:{port}/predict", {"query": CLOUD_TEXT}
                answers.append(httpx.post(address, json=question, trust_env=False, timeout=60))
            return bool(answers)

        try:
            until(is_answered)
            assert answers[0].json()["target"] == "cloud"
            process.terminate()
            assert process.wait(60) == 0
        finally:
            process.kill()


def test_check_prints_the_settings_without_the_secrets(artifact: Path) -> None:
    key = "0d9f8e7c6b5a49382716f5e4d3c2b1a0"
    command = [sys.executable, "-m", "pointsman", "serve", "--check", "--artifact", str(artifact)]
    environment = {**os.environ, "POINTSMAN_AUTH__KEYS": json.dumps([key])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=artifact, check=True)
    assert 'auth.keys = ["**********"]' in done.stdout
    assert key not in done.stdout + done.stderr
    assert "settings are valid" in done.stderr


def test_a_setting_that_is_not_known_is_refused_by_its_name(artifact: Path) -> None:
    command = [sys.executable, "-m", "pointsman", "serve", "--check"]
    environment = {**os.environ, "POINTSMAN_SERVER__PROT": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=artifact, check=False)
    assert done.returncode == 2
    assert "POINTSMAN_SERVER__PORT" in done.stderr


def test_a_storm_of_signals_is_one_reload(spawn: Callable[..., Process]) -> None:
    gateway = spawn()

    def version() -> str:
        return str(httpx.get(f"{gateway.url}/info", timeout=60).json()["version"].rsplit("-")[-1])

    begun = time.monotonic()
    for _ in range(500):
        gateway.process.send_signal(signal.SIGHUP)
    # On a machine that is busy elsewhere the storm may last, or come in two parts: then it is more than one.
    most = 3 + int((time.monotonic() - begun) / 0.1)
    until(lambda: version() != "1")
    time.sleep(0.5)  # more than a reload takes to begin: one too many would be there
    last = version()
    assert 2 <= int(last) <= most
    gateway.process.send_signal(signal.SIGHUP)
    until(lambda: version() != last)
    assert gateway.stop() == 0
