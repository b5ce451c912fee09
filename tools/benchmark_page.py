"""benchmarks/README.md, rendered from benchmarks/results: none of its figures is typed by hand."""

from pathlib import Path

from pointsman.bench.report.markdown import HOW_TO_READ, render_table, report_tables
from pointsman.bench.report.tables import EVERY_SERIES
from pointsman.bench.results import Benchmark
from tools.benchmark_goals import figures, goal_table, read_goals

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
HEAD = """# Benchmarks

This page is rendered from `results/` by `python -m tools`; change the results, not the page.
How figures are taken, and how to take them on your machine: [docs/benchmarking.md](../docs/benchmarking.md).

| to measure | run |
| --- | --- |
| a router of yours, thoroughly | `pointsman bench ARTIFACT --reference CHECKPOINT` |
| the same in about a minute | `pointsman bench ARTIFACT --reference CHECKPOINT --quick` |
| the full-size model, random weights | `python -m benchmarks.full_size --tokenizer CHECKPOINT` |
| files: rate, memory, Ray, `kill -9` | `python -m benchmarks.batch` |
| beside OpenVINO and NNCF | `python -m benchmarks.peers ARTIFACT` |
| what a second core is worth | `python -m benchmarks.cores` |
| int8 on massive activations, beside NNCF | `python -m benchmarks.massive CHECKPOINT --nncf PYTHON` |
| int8 of other encoders | `python -m benchmarks.encoders` |

The section of the peers measured an earlier default router, of six blocks; the one that ships has three.
The full-size model has 24 blocks and random weights: right for speed, and for nothing else. What is
measured is data: `src/pointsman/bench/scenarios.json` and `tools/benchmark_goals.json`.
"""


def benchmark_page() -> str:
    """The page."""
    parts = [HEAD, HOW_TO_READ + "\n"]
    goals = read_goals()
    for path in sorted(FOLDER.glob("results/**/benchmark.json")):
        benchmark = Benchmark.from_json(path.read_bytes())
        parts.append(f"## {path.parent.name}: {benchmark.subject}\n")
        for table in (goal_table(figures(benchmark, goals)), *report_tables(benchmark)):
            text = render_table(table).replace("## ", "### ", 1)
            if table.title == EVERY_SERIES:
                text = f"<details><summary>{table.title}</summary>\n\n{text}\n</details>\n"
            parts.append(text)
    return "\n".join(parts)
