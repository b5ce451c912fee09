"""What needs no MLflow; the rest is in tests/targets/test_mlflow.py."""

import sys
from pathlib import Path

import pytest
from tests.support.tiny_artifact import build_tiny_artifact

from pointsman.cli.__main__ import main


@pytest.mark.parametrize("action", [["log"], ["register", "name"]])
def test_without_mlflow_the_error_is_the_line_that_installs_it(
    action: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    artifact = build_tiny_artifact(tmp_path / "tiny")
    assert main(["mlflow", action[0], str(artifact.path), *action[1:]]) == 2
    assert "pip install 'pointsman[mlflow]'" in capsys.readouterr().err


def test_a_registry_without_an_alias_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mlflow", "mirror", str(tmp_path / "none"), "router"]) == 2
    assert "pointsman versions promote" in capsys.readouterr().err
