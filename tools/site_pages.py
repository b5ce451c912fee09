"""Hooks of the documentation site: pages and pictures from outside of docs/, and the links between them.

Links in the repository are right where the repository is read. On the site the same pages are elsewhere, so
each link to one is turned; a link to any other file of the repository becomes its path.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "LICENSE",
    "benchmarks/README.md",
    "benchmarks/results/default-router/latency.png",
    "checkpoints/CHANGELOG.md",
    "checkpoints/default-router/README.md",
    "recipes/README.md",
)
_LINK = re.compile(r"(!?\[(?P<text>[^\]]*)\])\((?P<to>[^)\s:#]+)(?P<anchor>#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what stands outside of docs/."""
    for name in OUTSIDE:
        files.append(File.generated(config, _place(name), abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn the links of a page."""
    source = Path(str(page.file.abs_src_path)).relative_to(ROOT).as_posix()

    def turned(found: re.Match[str]) -> str:
        name = posixpath.normpath(posixpath.join(posixpath.dirname(source), found["to"]))
        if name not in OUTSIDE and not name.startswith("docs/"):
            return f"{found['text']} (`{name}`)" if found["text"].strip("`") != name else f"`{name}`"
        place = posixpath.relpath(_place(name), posixpath.dirname(page.file.src_uri) or ".")
        return f"{found[1]}({place}{found['anchor'] or ''})"

    return _LINK.sub(turned, markdown)


def _place(name: str) -> str:
    """Where a file of the repository is on the site."""
    return "index.md" if name == "README.md" else name.removeprefix("docs/")
