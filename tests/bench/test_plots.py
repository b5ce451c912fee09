from dataclasses import replace
from pathlib import Path

from tests.bench.made_results import BATCH, USUAL, small_benchmark

from pointsman.bench.report.plots import write_plots

PNG = b"\x89PNG\r\n\x1a\n"


def test_plots_are_png_files(tmp_path: Path) -> None:
    written = write_plots(small_benchmark(), tmp_path)
    assert [path.name for path in written] == ["latency.png", "length.png"]
    for path in written:
        assert path.read_bytes().startswith(PNG)
        assert path.stat().st_size > 5_000


def test_what_was_not_measured_is_not_drawn(tmp_path: Path) -> None:
    benchmark = small_benchmark()
    runs = tuple(run for run in benchmark.runs if run.scenario == BATCH.name)
    written = write_plots(replace(benchmark, scenarios=(BATCH,), runs=runs), tmp_path)
    assert [path.name for path in written] == ["latency.png"]
    assert write_plots(replace(benchmark, scenarios=(), runs=()), tmp_path) == ()


def test_plots_say_the_same_every_time(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one = write_plots(small_benchmark(), tmp_path / "a")
    other = write_plots(small_benchmark(), tmp_path / "b")
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in other]
    slower = tuple(
        replace(run, calls_ns=tuple(4 * call for call in run.calls_ns))
        if (run.backend, run.scenario) == ("int8", USUAL.name)
        else run
        for run in small_benchmark().runs
    )
    changed = write_plots(replace(small_benchmark(), runs=slower), tmp_path / "b")
    assert changed[0].read_bytes() != one[0].read_bytes()
