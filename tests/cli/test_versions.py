"""`versions`: publish, promote, roll back, verify and look, with the codes of the error tree."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.tiny_artifact import build_tiny_artifact

from pointsman.artifact.layout import FOLDED
from pointsman.artifact.store import rewrite_manifest
from pointsman.cli.__main__ import main
from pointsman.policy import Policy


class Shell:
    """The command on one registry; answers exit code, rows and what stood on standard error."""

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path, self.capsys = path, capsys
        self.registry = path / "registry"

    def __call__(self, *words: str) -> tuple[int, list[dict[str, Any]], str]:
        code = main(["versions", *words, "--registry", str(self.registry), "--json"])
        said = self.capsys.readouterr()
        return code, json.loads(said.out or "[]"), said.err

    def plain(self, *words: str) -> str:
        assert main(["versions", *words, "--registry", str(self.registry)]) == 0
        return self.capsys.readouterr().out


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    first = build_tiny_artifact(tmp_path / "first")
    rewrite_manifest(first, tmp_path / "second", replace(first.manifest, policy=Policy(0.3)))
    made = Shell(tmp_path, capsys)
    assert made("publish", str(tmp_path / "first"), "--version", "1.0", "--alias", "stable")[0] == 0
    assert made("publish", str(tmp_path / "second"), "--version", "2.0")[0] == 0
    return made


def test_the_way_of_a_version(shell: Shell) -> None:
    assert shell("promote", "2.0")[1] == [{"alias": "stable", "version": "2.0"}]
    listed = {row["version"]: row["aliases"] for row in shell("list")[1]}
    assert listed == {"1.0": "", "2.0": "stable"}
    assert shell("rollback")[1] == [{"alias": "stable", "version": "1.0"}]
    assert [row["version"] for row in shell("verify")[1]] == ["1.0", "2.0"]
    assert [row["event"] for row in shell("history")[1]] == [
        *("publish", "promote", "publish", "promote", "rollback")
    ]


def test_an_alias_is_good_for_looking(shell: Shell) -> None:
    assert shell("verify", "stable")[1] == [{"version": "1.0", "verified": "ok"}]


def test_the_rows_are_readable_without_json(shell: Shell) -> None:
    assert shell.plain("promote", "2.0", "--alias", "canary") == "canary  2.0\n"
    lines = shell.plain("list").splitlines()
    assert [line.split()[0] for line in lines] == ["1.0", "2.0"]
    assert lines[1].endswith("canary")


def test_routing_from_the_registry(shell: Shell) -> None:
    version = shell.registry / "versions" / "1.0"
    assert main(["route", "--json", "--artifact", str(version), "hello"]) == 0
    assert json.loads(shell.capsys.readouterr().out)["label"] == "local"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["publish", "first", "--version", "1.0"], "versions never change"),
        (["publish", "first", "--version", "../up"], "expected letters"),
        (["publish", "nowhere"], "no artifact at"),
        (["promote", "3.0"], "no version or alias"),
        (["promote", "2.0", "--alias", "a/b"], "expected letters"),
        (["rollback"], "no earlier version"),
        (["rollback", "--alias", "canary"], "no earlier version"),
        (["verify", "3.0"], "no version or alias"),
    ],
)
def test_what_cannot_be_done_is_3_and_changes_nothing(
    shell: Shell, words: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shell.path)
    before = sorted((str(p), p.stat().st_size) for p in shell.registry.rglob("*") if p.is_file())
    code, rows, error = shell(*words)
    assert (code, rows) == (3, [])
    assert said in error
    assert sorted((str(p), p.stat().st_size) for p in shell.registry.rglob("*") if p.is_file()) == before


def test_an_altered_version_is_3(shell: Shell) -> None:
    with (shell.registry / "versions" / "2.0" / FOLDED).open("ab") as stream:
        stream.write(b"!")
    for words in (["verify"], ["verify", "2.0"], ["promote", "2.0"]):
        code, _, error = shell(*words)
        assert code == 3
        assert FOLDED in error
    assert shell("verify", "1.0")[0] == 0


@pytest.mark.parametrize("words", [["list"], ["history"], ["verify"], ["promote", "x"], ["rollback"]])
def test_no_registry_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert main(["versions", *words, "--registry", str(tmp_path / "nothing")]) == 3
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert "no registry at" in captured.err and "publish" in captured.err
    assert not (tmp_path / "nothing").exists()
