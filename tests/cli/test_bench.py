import argparse
from pathlib import Path

import pytest
from tests.convert.products import toy_artifact

from pointsman.bench.results import Benchmark
from pointsman.bench.runner import Effort
from pointsman.bench.scenarios import Preset
from pointsman.cli import bench
from pointsman.cli.__main__ import COMMANDS
from pointsman.errors import ArtifactNotFoundError, SettingsError


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
    with pytest.raises(SystemExit, match="2"):
        bench.run(parsed(str(tmp_path), "--threads", "0"))


def test_a_whole_benchmark_of_a_toy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    effort = Effort(1, 2, 1, 0, 1, 1, 2, 0.0, 60.0)
    kinds = ({"kind": "bulk", "threads": 1}, {"kind": "cold_start", "threads": 1})
    short = {"kind": "latency", "threads": 1, "batch": 1, "length": 16}
    preset = Preset(effort, ("ort_optimized",), (short, *kinds))
    monkeypatch.setattr("pointsman.bench.scenarios.read_preset", lambda name: preset)
    queries, output = tmp_path / "queries.txt", tmp_path / "out"
    queries.write_text("which train takes the left track\nnow\n")
    artifact = toy_artifact(tmp_path / "toy")

    words = (str(artifact.path), "--queries", str(queries), "--output", str(output), "--json")
    assert bench.run(parsed(*words)) == 0

    out, err = capsys.readouterr()
    benchmark = Benchmark.from_json((output / "benchmark.json").read_bytes())
    assert out == benchmark.to_json()
    assert [scenario.shape for scenario in benchmark.scenarios] == ["1x16", "2 texts", "cold start"]
    measured = {run.backend for run in benchmark.runs}
    assert measured == {
        "plain", "guide_quantized", "folded", "folded_products", "route_many", "router_program",
    }  # fmt: skip
    assert not [backend for backend in benchmark.backends if backend.skipped.startswith("failed")]
    assert benchmark.facts["queries"]["n"] == 2
    names = {path.name for path in output.iterdir()}
    assert names == {"benchmark.json", "benchmark.md", "report.html", "latency.png"}
    assert "absorb_norm" in (output / "report.html").read_text(encoding="utf-8")
    assert str(tmp_path) not in benchmark.to_json()
    assert "wrote benchmark.json" in err


def test_help_teaches() -> None:
    assert "raw" in (bench.__doc__ or "")
    assert COMMANDS["bench"]


def test_an_output_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("taken")
    with pytest.raises(SettingsError, match="--output"):
        bench._writable(tmp_path / "file" / "out")


def test_progress_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    bench._say("working", 0)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("working\n")
