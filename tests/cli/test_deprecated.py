"""Old names of flags: they do what the new ones do, and say so."""

import argparse
from pathlib import Path

import pytest

from pointsman.cli import calibrate, export


@pytest.mark.parametrize(
    ("command", "words", "old", "new", "dest"),
    [
        (export, ["checkpoint"], "--calibration", "--int8-queries", "int8_queries"),
        (calibrate, ["router", "--recipe", "r.toml"], "--data-directory", "--data", "recipe_data"),
    ],
)
def test_an_old_flag_works_and_warns(
    command: object, words: list[str], old: str, new: str, dest: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)  # type: ignore[attr-defined]
    assert getattr(parser.parse_args(words), dest) is None
    assert getattr(parser.parse_args([*words, new, "x"]), dest) == Path("x")
    assert capsys.readouterr().err == ""
    assert getattr(parser.parse_args([*words, old, "x"]), dest) == Path("x")
    assert capsys.readouterr().err == f"{old} is deprecated: it is called {new} now.\n"
    assert old not in parser.format_help()
