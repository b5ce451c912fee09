"""Every public route by schemathesis: only what /openapi.json declares, and no fault of ours."""

import os
import re
import subprocess
from pathlib import Path

from tests.support.keyword_artifact import build_keyword_artifact
from tests.support.running import running, settings_for
from tests.support.tiny_artifact import CLOUD_TEXT
from tests.targets.comparing import runtime

KEY = "9f2c47d1a86b4e30b5c8f7a1d2e3946b"
EXAMPLES = os.environ.get("POINTSMAN_SCHEMA_EXAMPLES", "30")
"""Cases a route in the fuzzing phase, beside those of the coverage phase."""
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "unsupported_method,ignored_auth"
)


def test_every_route_answers_as_it_says(tmp_path: Path) -> None:
    command = runtime("venv-schema", "bin", "schemathesis")
    artifact = build_keyword_artifact(tmp_path / "router").path
    with running(settings_for(artifact, demo=True, auth={"keys": [KEY]})) as gateway:
        headers = {"authorization": f"Bearer {KEY}"}
        address = f"http://127.0.0.1:{gateway.port}/openapi.json"
        options = {
            "--header": f"Authorization: Bearer {KEY}",
            "--checks": CHECKS,
            "--phases": "examples,coverage,fuzzing",
            "--max-examples": EXAMPLES,
            "--seed": "1",
            "--warnings": "off",
        }
        words = [word for pair in options.items() for word in pair]
        done = subprocess.run(
            [command, "run", address, *words, "--no-shrink", "--continue-on-failure"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-6000:]
        print(re.findall(r"(\d+) generated", done.stdout), "cases")
        metrics = gateway.admin.get("/metrics").text
        assert 'code="internal_error"' not in metrics
        good = gateway.http.post("/predict", json={"query": CLOUD_TEXT}, headers=headers)
        assert good.json()["target"] == "cloud"
