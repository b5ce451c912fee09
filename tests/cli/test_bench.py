import argparse
import builtins
from pathlib import Path
from typing import Any

import pytest

from pointsman.cli import bench
from pointsman.errors import ArtifactNotFoundError, MissingExtraError, SettingsError


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    return parser.parse_args(words)


def test_the_command_line_is_that_of_the_documentation() -> None:
    args = parsed("router", "--reference", "ck", "--threads", "2", "--output", "out", "--quick", "--json")
    assert (args.artifact, args.reference, args.output) == (Path("router"), Path("ck"), Path("out"))
    assert (args.threads, args.quick, args.json) == (2, True, True)
    assert bench._command(args) == "pointsman bench ARTIFACT --reference CHECKPOINT --threads 2 --quick"


def test_the_command_in_a_report_holds_no_path() -> None:
    args = parsed("/home/somebody/router", "--queries", "/home/somebody/q.jsonl")
    assert bench._command(args) == "pointsman bench ARTIFACT --queries FILE"


def test_no_artifact_is_said_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(ArtifactNotFoundError):
        bench.run(parsed(str(tmp_path / "none"), "--output", str(tmp_path / "out")))
    assert not (tmp_path / "out").exists()


def test_threads_below_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--threads"):
        bench.run(parsed(str(tmp_path), "--threads", "0"))


def test_a_missing_extra_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = builtins.__import__

    def without_matplotlib(name: str, *args: Any) -> Any:
        if name.startswith("pointsman.convert.plots"):
            raise ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib")
        return usual(name, *args)

    monkeypatch.setattr(builtins, "__import__", without_matplotlib)
    with pytest.raises(MissingExtraError) as caught:
        bench.run(parsed(str(tmp_path)))
    assert str(caught.value) == "pip install 'pointsman[export]'"


def test_help_teaches() -> None:
    assert "raw" in (bench.__doc__ or "")
    assert bench.NAME == "bench"
    assert bench.HELP


def test_an_output_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("taken")
    with pytest.raises(SettingsError, match="--output"):
        bench._writable(tmp_path / "file" / "out")


def test_progress_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    bench._say("working", 0)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("working\n")
