"""What `pip install pointsman` gives, alone: routing, verifying, the command line. No torch, no onnx, no web.

Run by `nox -s base` in an environment of its own.
"""

import json
from importlib.util import find_spec

import pytest

from pointsman import Router
from pointsman.artifact.address import shipped_artifact
from pointsman.artifact.store import Artifact
from pointsman.cli.__main__ import main

EXAMPLES = {
    "Hello there!": "local",
    "What's 5 + 3?": "local",
    "Thanks for your help": "local",
    "Analyze quarterly sales performance": "cloud",
    "Write a comprehensive business plan": "cloud",
    "Can you analyze the quarterly business performance?": "cloud",
}


def test_the_environment_is_the_light_one():
    heavy = [n for n in ("torch", "transformers", "onnx", "fastapi", "sklearn", "pyarrow") if find_spec(n)]
    assert heavy == []


def test_the_shipped_router_decides_the_guides_examples():
    router = Router.open()
    for text, decision in zip(EXAMPLES, router.route_many(list(EXAMPLES)), strict=True):
        assert decision.target == decision.label == EXAMPLES[text], text
        assert decision.confidence >= 0.7, text


def test_the_shipped_artifact_is_whole_and_small():
    artifact = Artifact.open(shipped_artifact())
    artifact.verify()
    assert sum(digest.size_bytes for digest in artifact.manifest.files.values()) <= 14_500_000


def test_route_by_command(capsys):
    assert main(["route", "--json", "thanks!", "Write a comprehensive business plan"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["target"] for row in rows] == ["local", "cloud"]


def test_inspect_verify_explain_and_versions_by_command(capsys, tmp_path):
    shipped, registry = str(shipped_artifact()), ["--registry", str(tmp_path / "registry")]
    assert main(["inspect", shipped]) == 0
    assert main(["verify", shipped]) == 0
    assert main(["explain", "Turn off the kitchen lights"]) == 0
    assert main(["versions", "publish", shipped, "--version", "1.0", *registry]) == 0
    assert main(["versions", "promote", "1.0", *registry]) == 0
    assert main(["versions", "list", *registry]) == 0
    assert "1.0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        (["export", "checkpoint"], "export"),
        (["validate", "artifact", "--reference", "checkpoint"], "export"),
        (["bench", str(shipped_artifact())], "export"),
        (["train", "rows.csv", "--base", "checkpoint", "--output", "run"], "train"),
        (["serve", "--check"], "serve"),
    ],
)
def test_a_missing_extra_is_one_line_that_installs_it(words, extra, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    said = capsys.readouterr().err
    assert f"pip install 'pointsman[{extra}]'" in said
    assert "Traceback" not in said
