import json
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
from benchmarks.batch import figures
from benchmarks.batch.__main__ import RESULT
from benchmarks.batch.texts import short_queries
from tests.support.tiny_artifact import build_tiny_artifact
from tools.__main__ import pages

ROOT = Path(__file__).parents[2]


def test_the_page_has_figures_of_every_kind() -> None:
    page = ROOT / "docs" / "deploy" / "batch.md"
    text = page.read_text(encoding="utf-8")
    assert pages()[page] == text
    for what in ("route_many", "ray over local", "rows lost", "resident MiB", "bytes a row", "core-hours"):
        assert what in text
    assert "/tmp/" not in RESULT.read_text(encoding="utf-8")


def test_figures_come_from_timings() -> None:
    run = {"rows": 1000, "seconds": 10.0, "workers": 2, "first_part": {"rows": 200, "seconds": 2.0}}
    slow = {**run, "first_part": {"rows": 200, "seconds": 5.0}, "seconds": 15.0}
    assert figures.rate(run) == 100.0
    assert figures.steady_rate(run) == 100.0
    assert figures.steady_rate({**run, "first_part": {"rows": 900, "seconds": 9.0}}) is None
    assert figures.share_of_local({"pairs": [{"local": run, "ray": slow}]}) == pytest.approx(0.8)
    bare = [{"rows": 100, "seconds": 1.0}, {"rows": 100, "seconds": 0.5}]
    assert figures.share_of_bare({"route_many": bare, "local": run}) == pytest.approx(100 / 150)
    spent = [{**one, "cpu_seconds": 2.0} for one in bare]
    one = {"route_many": spent, "local": {**run, "cpu_seconds": 25.0}}
    assert figures.cpu_share_of_bare(one) == pytest.approx(40 / 50)
    growing = {**run, "samples": [(second, 0, second * 2**20, 0) for second in range(11)]}
    assert figures.memory_slope(growing) == pytest.approx(1000.0)


def test_texts_are_the_same_every_time_and_mostly_different() -> None:
    texts = list(islice(short_queries(3), 500))
    assert texts == list(islice(short_queries(3), 500))
    assert texts != list(islice(short_queries(4), 500))
    assert len(set(texts)) > 350
    assert all(text.strip() for text in texts)


def test_it_kills_runs_and_counts(tmp_path: Path) -> None:
    artifact = build_tiny_artifact(tmp_path / "tiny").path
    output = tmp_path / "batch.json"
    words = ["--part", "kill", "--rows", 50, "--kill-rows", 400, "--kills", 1, "--artifact", artifact]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.batch", *map(str, words), "--output", str(output)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    [run] = json.loads(output.read_text(encoding="utf-8"))["kills"]["runs"]
    assert (run["lost"], run["doubled"], run["equal_output"]) == (0, 0, True)
