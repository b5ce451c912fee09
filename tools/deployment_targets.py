"""The table of docs/deployment.md, written from the packaging targets themselves."""

from pointsman.deploy.package.catalogue import TARGETS
from tools.pages import table


def targets_table() -> str:
    """Every target as a row of Markdown."""
    rows = []
    for name, target in TARGETS.items():
        link = f"[`{name}`](deploy/{target.page or name}.md)"
        rows.append((link, target.purpose, target.needs, target.tested))
    return table(("target", "for", "needs", "how it was tested"), rows, figures=False)
