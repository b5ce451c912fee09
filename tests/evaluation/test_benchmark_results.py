import subprocess
import sys
from pathlib import Path

import pytest

from pointsman.evaluation.benchmark import Benchmark

ROOT = Path(__file__).parents[2]
RESULTS = sorted(ROOT.glob("benchmarks/results/**/benchmark.json"))


def test_the_page_is_what_the_results_say() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "render.py"), "--check"],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT / "src")},
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.parent.name)
def test_results_can_be_read_and_name_nobody(path: Path) -> None:
    benchmark = Benchmark.from_json(path.read_bytes())
    assert benchmark.runs
    assert benchmark.command
    assert "/home/" not in path.read_text(encoding="utf-8")
    assert "/tmp/" not in path.read_text(encoding="utf-8")
