"""`inspect` and `verify`: what an artifact is, and whether it still is what was built."""

import json
from pathlib import Path

import pytest
from tests.support.keyword_artifact import build_keyword_artifact

from pointsman.artifact.address import shipped_artifact
from pointsman.artifact.layout import FOLDED, TOKENIZER
from pointsman.artifact.manifest import Calibration
from pointsman.artifact.store import Artifact
from pointsman.cli.__main__ import main

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return build_keyword_artifact(tmp_path / "router", Calibration("platt", 1.5, -0.25, "d" * 64, 1234))


def test_inspect_shows_what_there_is_to_know(artifact: Artifact, capsys: Capture) -> None:
    assert main(["inspect", str(artifact.path)]) == 0
    said = capsys.readouterr().out
    for part in (
        *("keyword", artifact.manifest.id[:12], "local, cloud", "at most 64 tokens", FOLDED, "(default)"),
        *("ai.onnx 17", "platt, a 1.500, b -0.250, on 1,234 rows", "not proved"),
    ):
        assert part in said, part


def test_inspect_as_json_is_the_manifest(artifact: Artifact, capsys: Capture) -> None:
    assert main(["inspect", "--json", str(artifact.path)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said.pop("id") == artifact.manifest.id
    assert said == artifact.manifest.to_dict()


def test_inspect_without_a_path_shows_the_shipped_router(capsys: Capture) -> None:
    assert main(["inspect", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == Artifact.open(shipped_artifact()).manifest.id


def test_verify_names_every_file(artifact: Artifact, capsys: Capture) -> None:
    assert main(["verify", str(artifact.path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines[:-1]] == [FOLDED, TOKENIZER]
    assert lines[-1] == f"ok  keyword: 2 files, artifact {artifact.manifest.id[:12]}"


def test_verify_as_json(artifact: Artifact, capsys: Capture) -> None:
    assert main(["verify", "--json", str(artifact.path)]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "path": str(artifact.path),
        "id": artifact.manifest.id,
        "files": 2,
        "ok": True,
    }


def test_the_shipped_router_is_what_was_built(capsys: Capture) -> None:
    assert main(["verify"]) == 0
    assert capsys.readouterr().out.startswith("ok  ")


def test_verify_warns_of_what_tools_left(artifact: Artifact, capsys: Capture) -> None:
    (artifact.path / ".DS_Store").touch()
    assert main(["verify", str(artifact.path)]) == 0
    assert "warning: not part of the artifact, and never read: ['.DS_Store']" in capsys.readouterr().err


@pytest.mark.parametrize("name", [FOLDED, TOKENIZER, "stranger.txt"])
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_an_altered_or_added_file_is_3_and_named(
    artifact: Artifact, capsys: Capture, name: str, flags: list[str]
) -> None:
    with (artifact.path / name).open("ab") as stream:
        stream.write(b"!")
    assert main(["verify", *flags, str(artifact.path)]) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert name in captured.err


@pytest.mark.parametrize("command", ["inspect", "verify"])
@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "no artifact at"), ("{", "not readable JSON"), ('{"schema": 99}', "expected schema 1, found 99")],
)
def test_no_readable_manifest_is_3(
    tmp_path: Path, capsys: Capture, command: str, text: str | None, said: str
) -> None:
    if text is not None:
        (tmp_path / "manifest.json").write_text(text, encoding="utf-8")
    assert main([command, str(tmp_path)]) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"pointsman {command}: ")
    assert said in captured.err
