import argparse
import json

import pytest
from tests.support.keyword_artifact import build_keyword_artifact

from pointsman.cli import explain

pytest.importorskip("onnx")


def run(*words):
    parser = argparse.ArgumentParser()
    explain.add_arguments(parser)
    return explain.run(parser.parse_args([str(word) for word in words]))


@pytest.fixture
def artifact(tmp_path):
    return build_keyword_artifact(tmp_path / "artifact").path


def test_the_heaviest_word_comes_first(artifact, capsys):
    assert run("hello analyze a plan", "--artifact", artifact) == 0
    out = capsys.readouterr().out
    assert out.startswith("target ")
    assert out.index("analyze") < out.index("plan  ") and "-3.000" in out
    p_cloud = out.split("p_cloud")[1].split()[0]
    assert f"with a cloud threshold of {p_cloud} or less it would go to the cloud" in out


def test_json_holds_everything(artifact, capsys):
    run("analyze a plan", "--artifact", artifact, "--json")
    found = json.loads(capsys.readouterr().out)
    assert found["decision"]["label"] == "cloud"
    assert [part["text"] for part in found["parts"]] == ["analyze", "a", "plan"]
    assert found["thresholds"]["0.5"] == "cloud"


def test_an_empty_query_is_explained_too(artifact, capsys):
    assert run("", "--artifact", artifact) == 0
    out = capsys.readouterr().out
    assert "empty_text" in out and "with a cloud threshold" not in out


def test_nothing_in_a_query_controls_the_terminal(artifact, capsys):
    assert run("hello \x1b[2J\x07analyze plan", "--artifact", artifact) == 0
    assert not {"\x1b", "\x07"} & set(capsys.readouterr().out)


def test_json_is_ascii_whatever_the_terminal_knows(artifact, capsys):
    run("analyze é 😀 привет", "--artifact", artifact, "--json")
    out = capsys.readouterr().out
    assert out.isascii() and [part["text"] for part in json.loads(out)["parts"]][2] == "😀"
