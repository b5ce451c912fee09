"""Write the generated tables of the pages again: `python -m tools`."""

from pathlib import Path

from tools.deployment_targets import targets_table
from tools.gateway_reference import TABLES
from tools.pages import filled

DOCS = Path(__file__).resolve().parents[1] / "docs"


def pages() -> dict[Path, str]:
    """Each page with generated tables, and its text as it should be."""
    gateway, deployment = DOCS / "gateway.md", DOCS / "deployment.md"
    places = {name: table() for name, table in TABLES.items()}
    return {
        gateway: filled(gateway.read_text(encoding="utf-8"), places),
        deployment: filled(deployment.read_text(encoding="utf-8"), {"targets": targets_table()}),
    }


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
