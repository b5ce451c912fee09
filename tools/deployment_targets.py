"""The table of docs/deployment.md, written from the packaging targets themselves."""

from pointsman.deploy.package.catalogue import TARGETS


def targets_table() -> str:
    """Every target as a row of Markdown."""
    lines = ["| target | for | needs | how it was tested |", "| --- | --- | --- | --- |"]
    for name, target in TARGETS.items():
        link = f"[`{name}`](deploy/{target.page or name}.md)"
        lines.append(f"| {link} | {target.purpose} | {target.needs} | {target.tested} |")
    return "\n".join(lines)
