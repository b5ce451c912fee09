"""The code on the pages: which of it runs, and what is printed under it.

`<!-- run -->` on the line before a fenced block makes it run. A page is one session, read from top to
bottom in an empty directory: its Python blocks share their names, its console blocks run each line that
begins with `$ `. `<!-- run beside pointsman serve --demo -->` runs it while that gateway answers at the
address that the page names, http://127.0.0.1:8000.

A console block holds its output. What a Python block prints stands in the `text` block under it, which
begins with `<!-- prints -->`. `...` in an output stands for anything. `python -m tests.support.snippets`
runs every page and writes the outputs that differ.
"""

import contextlib
import doctest
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.support.places import ROOT
from tests.support.process import environment_without_settings
from tests.support.running import Process

from pointsman.artifact.address import shipped_artifact

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
ADDRESS = "http://127.0.0.1:8000"
_RUN = re.compile(
    r"^<!-- run(?P<beside> beside pointsman serve --demo)? -->\n"
    r"```(?P<language>python|console)\n(?P<code>.*?)^```\n"
    r"(?:\n<!-- prints -->\n```text\n(?P<printed>.*?)^```\n)?",
    re.MULTILINE | re.DOTALL,
)
_KERNEL = """
import contextlib, io, json, sys
names = {"__name__": "__main__"}
for line in sys.stdin:
    where, code = json.loads(line)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, where, "exec"), names)
    print(json.dumps(printed.getvalue()), flush=True)
"""


@dataclass(frozen=True, slots=True)
class Snippet:
    """One block that runs.

    Attributes:
        where: the page and the line.
        span: the place of its output in the page's text; None where the page shows none.
        shown: that output.
    """

    where: str
    language: str
    code: str
    is_beside: bool
    span: tuple[int, int] | None
    shown: str


def snippets(page: Path) -> list[Snippet]:
    """The blocks of a page that run, in its order."""
    text = page.read_text(encoding="utf-8")
    name = page.relative_to(ROOT) if page.is_relative_to(ROOT) else page.name
    found = []
    for match in _RUN.finditer(text):
        part = "code" if match["language"] == "console" else "printed"
        line = text.count("\n", 0, match.start("code"))
        found.append(
            Snippet(
                f"{name}:{line}",
                match["language"],
                match["code"],
                bool(match["beside"]),
                None if match[part] is None else match.span(part),
                match[part] or "",
            )
        )
    return found


def is_as_shown(snippet: Snippet, output: str) -> bool:
    """Whether a block printed what its page shows."""
    return snippet.span is None or doctest.OutputChecker().check_output(
        snippet.shown, output, doctest.ELLIPSIS
    )


class Session:
    """Runs the blocks of one page, one after the other, in a directory."""

    def __init__(self, directory: Path, address: str | None) -> None:
        self._directory = directory
        self._address = address
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        source = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
        self._environment = environment_without_settings({"PATH": path, "PYTHONPATH": source})
        self._python = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", _KERNEL],
            cwd=directory, env=self._environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, snippet: Snippet) -> str:
        """What a block prints, with the page's address. Raises RuntimeError where it fails."""
        code = snippet.code.replace(ADDRESS, self._address) if self._address else snippet.code
        output = self._ask_python(snippet.where, code) if snippet.language == "python" else self._shell(code)
        return output.replace(self._address, ADDRESS) if self._address else output

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._python.kill()
        self._python.communicate()

    def _ask_python(self, where: str, code: str) -> str:
        assert self._python.stdin is not None and self._python.stdout is not None
        self._python.stdin.write(json.dumps([where, code]) + "\n")
        self._python.stdin.flush()
        line = self._python.stdout.readline()
        if not line:
            raise RuntimeError(f"{where}\n{self._python.communicate()[1]}")
        return str(json.loads(line))

    def _shell(self, code: str) -> str:
        """Run what follows each `$ `, continued lines included; the result reads like the block."""
        printed = []
        for command in re.findall(r"^\$ ((?:.*\\\n)*.*\n)", code, re.MULTILINE):
            done = subprocess.run(
                ["sh", "-c", command], cwd=self._directory, env=self._environment, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=120,
            )  # fmt: skip
            printed += [f"$ {command}", done.stdout]
        return "".join(printed)


@contextlib.contextmanager
def session(page: Path) -> Iterator[Session]:
    """A session for a page, beside a gateway where one of its blocks asks for it."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        address = None
        if any(snippet.is_beside for snippet in snippets(page)):
            log = stack.enter_context((Path(folder) / "log").open("wb"))
            gateway = Process(shipped_artifact(), log, "--demo")
            stack.callback(gateway.stop)
            address = gateway.url
        directory = Path(folder) / "session"
        directory.mkdir()
        yield stack.enter_context(Session(directory, address))


def main() -> None:
    """Run every page and write the outputs that differ."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if not (blocks := snippets(page)):
            continue
        with session(page) as running:
            outputs = [(block, running.run(block)) for block in blocks]
        for block, output in reversed(outputs):
            if block.span is not None and not is_as_shown(block, output):
                text = text[: block.span[0]] + output + text[block.span[1] :]
                print(f"{block.where} printed something else")
        page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
