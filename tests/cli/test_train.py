import argparse
from pathlib import Path

import pytest

pytest.importorskip("torch")

from pointsman.cli import distill, train
from pointsman.errors import CheckpointError, DataError, SettingsError

pytestmark = pytest.mark.torch


def parsed(module, *words):
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    return parser.parse_args([str(word) for word in words])


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "q.csv"
    rows = [f"prove the number {i},cloud\nplay song {i},local\n" for i in range(60)]
    path.write_text("query,label\n" + "".join(rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("flags", "error", "message"),
    [
        (("--validation-share", 0.9), SystemExit, "2"),
        (("--max-tokens", 3), SystemExit, "2"),
        (("--epochs", 0), SystemExit, "2"),
        (("--learning-rate", -1), SystemExit, "2"),
        ((), CheckpointError, "none"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(table, tmp_path, monkeypatch, flags, error, message):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(error, match=message):
        train.run(parsed(train, table, "--base", tmp_path / "none", "--output", tmp_path / "run", *flags))
    # The next command with this output is not another run.
    assert not (tmp_path / "run").exists()


def test_no_data_is_refused(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        train.run(parsed(train, tmp_path / "no.csv", "--base", "encoder", "--output", tmp_path / "run"))


def test_distill_refuses_a_recipe_that_is_not_there(tmp_path):
    with pytest.raises(SettingsError, match="cannot be read"):
        distill.run(parsed(distill, tmp_path / "no.toml", "--data", tmp_path, "--output", tmp_path / "run"))
    (tmp_path / "r.toml").write_text('[[outcomes]]\nfiles = "*.none"\n', encoding="utf-8")
    with pytest.raises(DataError, match="no file matches"):
        distill.run(parsed(distill, tmp_path / "r.toml", "--data", tmp_path, "--output", tmp_path / "run"))
