"""Write the generated tables and figures of the pages again: none is typed by hand.

    python -m tools [--check]

With --check, nothing is written; the exit code is 1 where a page is not what the program and the recorded
results say.
"""

import json
import sys
from pathlib import Path

from tools.batch_page import figures
from tools.benchmark_page import benchmark_page
from tools.deployment_targets import targets_table
from tools.gateway_reference import TABLES
from tools.pages import filled
from tools.recorded_figures import with_figures

ROOT = Path(__file__).resolve().parents[1]


def pages() -> dict[Path, str]:
    """Each page with generated parts, and its text as it should be."""
    recorded = json.loads((ROOT / "benchmarks/results/batch/batch.json").read_text(encoding="utf-8"))
    places = {
        "gateway.md": {name: table() for name, table in TABLES.items()},
        "deployment.md": {"targets": targets_table()},
        "deploy/batch.md": {"batch figures": f"\n{figures(recorded)}\n"},
    }
    made = {ROOT / "benchmarks" / "README.md": benchmark_page()}
    for path in sorted((ROOT / "docs").rglob("*.md")):
        text, own = path.read_text(encoding="utf-8"), path.relative_to(ROOT / "docs").as_posix()
        made[path] = with_figures(filled(text, places.get(own, {})))
    return made


def main() -> int:
    """Write, or check; the exit code."""
    wrong = {path: text for path, text in pages().items() if path.read_text(encoding="utf-8") != text}
    for path, text in wrong.items():
        if "--check" in sys.argv[1:]:
            sys.stderr.write(f"{path.relative_to(ROOT)} is not as it should be: python -m tools\n")
        else:
            path.write_text(text, encoding="utf-8")
    return 1 if wrong and "--check" in sys.argv[1:] else 0


if __name__ == "__main__":
    sys.exit(main())
