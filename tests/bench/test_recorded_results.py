import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.figures import Figure, record
from tools.recorded_figures import with_figures

from pointsman.bench.environment import capture_environment
from pointsman.bench.results import Benchmark

ROOT = Path(__file__).parents[2]
RESULTS = sorted(ROOT.glob("benchmarks/results/**/benchmark.json"))


def test_the_page_is_what_the_results_say() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT / "src")},
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_figures_of_a_target_stand_between_their_marks(tmp_path: Path) -> None:
    rows = [
        Figure("size", 12.345, "MB", "at most 20 MB"),
        Figure("engine", "none", aim=""),
        Figure("n", 1000),
    ]
    record("docker", "python this.py", rows, capture_environment(), tmp_path)
    page = "before\n<!-- figures: docker -->\nold\n<!-- /figures: docker -->\nafter\n"
    made = with_figures(page, tmp_path)
    assert "| size | 12.3 MB | at most 20 MB |\n| engine | none |  |\n| n | 1,000 |  |\n" in made
    assert "`python this.py`" in made and "old" not in made
    assert with_figures(made, tmp_path) == made
    assert with_figures("no marks\n", tmp_path) == "no marks\n"
    unknown = "<!-- figures: node -->\n\n<!-- /figures: node -->\n"
    assert "Not recorded yet.\n" in with_figures(unknown, tmp_path)


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.parent.name)
def test_results_can_be_read_and_name_nobody(path: Path) -> None:
    benchmark = Benchmark.from_json(path.read_bytes())
    assert benchmark.runs
    assert benchmark.command
    assert "/home/" not in path.read_text(encoding="utf-8")
    assert "/tmp/" not in path.read_text(encoding="utf-8")
