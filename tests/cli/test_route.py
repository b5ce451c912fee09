"""`pointsman route` as a shell runs it: arguments, pipes, bytes of any kind, exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.running import COMMAND, environment, run
from tests.support.tiny_artifact import CLOUD_TEXT, LOCAL_TEXT, build_tiny_artifact

from pointsman.cli.__main__ import main


@pytest.fixture
def artifact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    for name in environment():
        monkeypatch.setenv(name, environment()[name])
    monkeypatch.chdir(tmp_path)
    build_tiny_artifact(tmp_path / "router")
    return "router"


def rows(out: str | bytes) -> list[dict]:
    return [json.loads(line) for line in out.splitlines()]


def test_arguments_are_queries(artifact: str, capsys) -> None:
    assert main(["route", "--artifact", artifact, LOCAL_TEXT, CLOUD_TEXT]) == 0
    local, cloud = capsys.readouterr().out.splitlines()
    assert local == "local  hello thanks  (local 99% sure, model)"
    assert cloud == "cloud  analyze the plan  (cloud 99% sure, model)"


def test_json_is_one_object_a_query(artifact: str, capsys) -> None:
    assert main(["route", "--json", "--artifact", artifact, LOCAL_TEXT, "", "\u2028😀"]) == 0
    found = rows(capsys.readouterr().out)
    assert [row["query"] for row in found] == [LOCAL_TEXT, "", "\u2028😀"]
    assert set(found[0]) == {
        *("query", "target", "label", "confidence", "p_cloud", "reason", "tokens", "truncated"),
    }
    assert found[1]["reason"] == "empty_text"


def test_standard_input_is_a_query_a_line(artifact: str, tmp_path: Path) -> None:
    given = f"{LOCAL_TEXT}\n\n{CLOUD_TEXT}\r\nplay\rplan\nlast one"
    done = run("route", "--json", "--artifact", artifact, cwd=tmp_path, given=given)
    assert (done.returncode, done.stderr) == (0, b"")
    assert [row["query"] for row in rows(done.stdout)] == [
        *(LOCAL_TEXT, "", CLOUD_TEXT, "play\rplan", "last one")
    ]


def test_bytes_of_any_kind_are_a_line_each(artifact: str, tmp_path: Path) -> None:
    given = b"hello \xff\xfe\n\x00\n\xed\xa0\x80 plan\nanalyze\n"
    done = run("route", "--json", "--artifact", artifact, cwd=tmp_path, given=given)
    assert done.returncode == 0
    assert [row["label"] for row in rows(done.stdout)][0::3] == ["local", "cloud"]
    assert len(rows(done.stdout)) == 4


def test_no_input_is_no_output(artifact: str, tmp_path: Path) -> None:
    done = run("route", "--artifact", artifact, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_terminal_that_knows_no_emoji_gets_an_escape(artifact: str, tmp_path: Path) -> None:
    done = run("route", "--artifact", artifact, "hello 😀", cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"local  hello \\U0001f600")


def test_nothing_in_a_query_controls_the_terminal(artifact: str, capsys) -> None:
    assert main(["route", "--artifact", artifact, "hello \x1b[2J\x07\nnext\u202e"]) == 0
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert not {"\x1b", "\x07", "\u202e"} & set(said)


def test_a_long_query_is_shown_short_and_truncation_is_said(artifact: str, capsys) -> None:
    assert main(["route", "--artifact", artifact, "plan " * 500]) == 0
    said = capsys.readouterr().out
    assert "…" in said
    assert ", truncated)" in said
    assert len(said) < 120


def test_a_reader_that_leaves_is_no_error(artifact: str, tmp_path: Path) -> None:
    (tmp_path / "queries").write_text("hello\n" * 30_000, encoding="utf-8")
    with (
        (tmp_path / "queries").open("rb") as queries,
        subprocess.Popen(
            [*COMMAND, "route", "--json", "--artifact", artifact],
            cwd=tmp_path,
            stdin=queries,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
        ) as process,
    ):
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b"{")
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_one_line(artifact: str, tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*COMMAND, "route", "--artifact", artifact, "hello"],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment(),
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1
    assert b"No space left" in done.stderr


def test_flags_win_over_the_environment_and_that_over_the_artifact(artifact: str, tmp_path: Path) -> None:
    words = ("route", "--json", "--artifact", artifact, "unknown")
    plain = run(*words, cwd=tmp_path)
    told = run(*words, cwd=tmp_path, POINTSMAN_SAFE_TARGET="local")
    flag = run(*words, "--safe-target", "cloud", cwd=tmp_path, POINTSMAN_SAFE_TARGET="local")
    assert [rows(done.stdout)[0]["target"] for done in (plain, told, flag)] == ["cloud", "local", "cloud"]


def test_the_environment_may_name_the_artifact(artifact: str, tmp_path: Path) -> None:
    done = run("route", "--json", "hello", cwd=tmp_path, BERT_MODEL_FULLPATH=str(tmp_path / artifact))
    assert rows(done.stdout)[0]["label"] == "local"
    (tmp_path / ".env").write_text("BERT_MODEL_PATH=nowhere\n", encoding="utf-8")
    done = run("route", "hello", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, b"")
    assert b"no artifact at nowhere" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--threads", "0"], 2, "--threads: expected"),
        (["--cloud-threshold", "nan"], 2, "--cloud-threshold: expected"),
        (["--safe-target", "moon"], 2, "--safe-target: expected"),
        (["--max-length", "65"], 2, "at most 64 tokens"),
        (["--variant", "int8"], 2, "variant 'int8'"),
        (["--artifact", "nowhere"], 3, "no artifact at nowhere"),
    ],
)
def test_a_bad_word_is_one_line_and_its_code(artifact, words, code, said, capsys) -> None:
    assert main(["route", "--artifact", artifact, *words, "hello"]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert said in captured.err


def test_an_altered_artifact_routes_nothing(artifact: str, tmp_path: Path, capsys) -> None:
    with (tmp_path / artifact / "tokenizer.json").open("ab") as stream:
        stream.write(b" ")
    assert main(["route", "--artifact", artifact, "hello"]) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "tokenizer.json" in captured.err


def test_the_script_and_the_module_are_one_command(artifact: str, tmp_path: Path) -> None:
    script = Path(sys.executable).parent / "pointsman"
    done = subprocess.run(
        [script, "route", "--artifact", artifact, "hello"],
        cwd=tmp_path,
        capture_output=True,
        env=environment(),
        check=False,
    )
    assert done.stdout == run("route", "--artifact", artifact, "hello", cwd=tmp_path).stdout != b""
