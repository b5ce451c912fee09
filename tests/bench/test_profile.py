from pathlib import Path
from typing import Any

import pytest
from tests.bench.made_results import small_benchmark
from tests.convert.products import toy_artifact

from pointsman.bench.profile import BETWEEN, WARMUPS, profile_run, time_of_parts
from pointsman.bench.report.html import render_html
from pointsman.bench.report.markdown import render_markdown


def events(runs: int) -> list[dict[str, Any]]:
    """Runs of 100 us: two products of 30, a sum of 20, and 20 in no operator; the first run is slow."""
    nodes = [("block.0.up", "QGemm", 30), ("block.11.up", "QGemm", 30), ("pooler", "Add", 20)]
    found: list[dict[str, Any]] = [{"name": "session_initialization", "dur": 10**6}]
    for number in range(runs):
        slow = 50 if number == 0 else 1
        for name, operator, time in nodes:
            found.append({"name": f"{name}_kernel_time", "dur": time * slow, "args": {"op_name": operator}})
        found.append({"name": "model_run", "dur": 100 * slow})
    return found


def test_time_is_shared_out_whole_and_warmups_do_not_count() -> None:
    parts = time_of_parts(events(WARMUPS + 4))
    operators = [(row["part"], row["nodes"], round(row["percent"])) for row in parts["operators"]]
    assert operators == [("QGemm", 2, 60), ("Add", 1, 20), (BETWEEN, 0, 20)]
    assert {row["part"] for row in parts["blocks"]} == {"block 0", "block 11", "outside of blocks", BETWEEN}
    for rows in parts.values():
        assert sum(row["ms"] for row in rows) == pytest.approx(0.1)


def test_a_graph_without_named_blocks_has_no_table_of_them() -> None:
    plain = [{**event, "name": event["name"].replace("block.", "node")} for event in events(WARMUPS + 1)]
    assert time_of_parts(plain).keys() == {"operators"}


def test_an_artifact_is_profiled_at_the_lengths_that_it_reads(tmp_path: Path) -> None:
    artifact = toy_artifact(tmp_path / "toy")
    longest = artifact.manifest.limits.max_tokens
    found = profile_run(artifact, ((1, 4), (2, 10**6)))
    assert found.keys() == {"1x4", f"2x{longest}"}
    for tables in found.values():
        assert sum(row["percent"] for row in tables["operators"]) == pytest.approx(100)


def test_a_report_shows_it_as_table_and_picture() -> None:
    from dataclasses import replace

    made = small_benchmark()
    benchmark = replace(made, facts={**made.facts, "profile": {"1x16": time_of_parts(events(WARMUPS + 1))}})
    markdown, page = (render(benchmark) for render in (render_markdown, render_html))
    assert "| QGemm | 2 | 0.06 | 60 |" in markdown
    assert "Peers' parity" not in markdown + page
    assert "Where the time of a run goes: 1x16, blocks" in page
    assert '<div class="label">block 11</div>' in page
