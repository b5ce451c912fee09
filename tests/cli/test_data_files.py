"""Every kind of data file through the commands that read one: all alike, or one line."""

import json
from pathlib import Path

import pytest
from tests.support.data_files import data_files
from tests.support.keyword_artifact import build_keyword_artifact

from pointsman.cli.__main__ import main

TEXTS = [
    ("hello you", "local"),
    ('play "a"; song', "local"),
    ("analyze,\nthe plan", "cloud"),
    ("plan ü", "cloud"),
]
ROWS = [{"query": f"{text} {i}", "label": label} for i in range(10) for text, label in TEXTS]
KINDS = data_files(ROWS)


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_keyword_artifact(tmp_path_factory.mktemp("router") / "keyword").path


@pytest.mark.parametrize("kind", KINDS)
def test_every_command_reads_every_kind_alike(
    router: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name, content = KINDS[kind]
    file = tmp_path / name
    file.write_bytes(content)
    words = [str(router), str(file), "--output", str(tmp_path / "new"), "--json"]
    assert main(["calibrate", *words]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == len(ROWS)
    output = str(tmp_path / "routes.jsonl")
    assert (
        main(["batch", str(file), output, "--artifact", str(router), "--label", "label", "--quiet", "--json"])
        == 0
    )
    said = json.loads(capsys.readouterr().out)
    assert (said["routed"], said["labelled"], said["agreed"], said["bad"]) == (40, 40, 40, 0)


@pytest.mark.torch
@pytest.mark.parametrize("kind", KINDS)
def test_evaluate_reads_every_kind_alike(router: Path, tmp_path: Path, kind: str) -> None:
    pytest.importorskip("torch")
    name, content = KINDS[kind]
    (tmp_path / name).write_bytes(content)
    words = ["--output", str(tmp_path / "report"), "--no-plots", "--resamples", "2", "--edits", "0"]
    assert main(["evaluate", str(router), "--test", str(tmp_path / name), *words]) == 0
    report = json.loads((tmp_path / "report" / "evaluation.json").read_text())
    measured = report["sets"]["pooled"]
    assert (measured["rows"], measured["cloud_is_better"]) == (len(ROWS), 0.5)


@pytest.mark.torch
@pytest.mark.parametrize("kind", KINDS)
def test_training_reads_every_kind_alike(tmp_path: Path, kind: str) -> None:
    finetune = pytest.importorskip("pointsman.train.finetune")
    split = pytest.importorskip("pointsman.train.split")
    recipe = pytest.importorskip("pointsman.train.recipe_loader")
    name, content = KINDS[kind]
    (tmp_path / name).write_bytes(content)
    plan = finetune.Plan((tmp_path / name,), "none", tmp_path / "run", balance=False)
    tuned = finetune.split_rows(plan)
    (tmp_path / "r.toml").write_text(f'name = "r"\n[[outcomes]]\nfiles = "{name}"\n', encoding="utf-8")
    distilled = split.load_split(recipe.load_recipe(tmp_path / "r.toml"), tmp_path)
    for found in (tuned, distilled):
        read = {(e.query, e.p_cloud) for e in [*found.train, *found.validation]}
        assert read == {(row["query"], float(row["label"] == "cloud")) for row in ROWS}


REFUSED = {
    "empty": ("q.csv", b"", "there are no rows"),
    "header only": ("q.csv", b"query,label\n", "there are no rows"),
    "spreadsheet": ("q.xlsx", b"PK", "spreadsheet"),
    "another column": ("q.csv", b"text,label\nx,local\n", "no column 'query'"),
    "no label": ("q.csv", b"query,y\n" + b"x,1\n" * 30, "no column 'label'"),
    "other labels": ("q.csv", b"query,label\n" + b"x,weak\n" * 30, "--local-when"),
    "a column twice": ("q.csv", b"query,label,label\nx,local,local\n", "named twice: ['label']"),
    "NUL": ("q.csv", b"\0\0\0\0", "no column"),
    "cut": ("q.csv.gz", b"\x1f\x8b\x08", "cannot be read to its end"),
    "a spreadsheet called csv": ("q.csv", b"PK\3\4\x14\0", "spreadsheet"),
    "gzip called csv": ("q.csv", b"\x1f\x8b\x08\0", "end its name with .gz"),
    "Parquet called jsonl": ("q.jsonl", b"PAR1\x15\4", "end its name with .parquet"),
    "a directory": ("q.csv/x", b"", "is a directory"),
    "no suffix": ("queries", b"x", "tells no format"),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("command", ["calibrate", "evaluate", "train", "batch"])
def test_what_cannot_be_used_is_one_line_and_2(
    router: Path, tmp_path: Path, command: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name, content, why = REFUSED[kind]
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    file = tmp_path / name.removesuffix("/x")
    words = {
        "calibrate": [str(router), str(file), "--output", str(tmp_path / "new")],
        "evaluate": [str(router), "--test", str(file), "--output", str(tmp_path / "new")],
        "train": [str(file), "--base", "encoder", "--output", str(tmp_path / "new")],
        "batch": [str(file), str(tmp_path / "new"), "--artifact", str(router), "--quiet", "--label", "label"],
    }
    if command == "batch" and kind in ("empty", "header only", "other labels"):
        return  # nothing to route is no error
    if command in ("train", "evaluate"):
        pytest.importorskip("torch")
    assert main([command, *words[command]]) == 2
    captured = capsys.readouterr()
    last = captured.err.splitlines()[-1]
    assert last.startswith(f"pointsman {command}: ") and why in last and name.removesuffix("/x") in last
    assert not (tmp_path / "new").exists()
