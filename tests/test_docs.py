"""The pages say what is true: links resolve, commands parse, code compiles, and what claims to run, runs.

A ```python block that starts with `# runs` is executed in an empty directory; one that starts with
`# runs beside pointsman serve --demo` while that is running, at the port that it got.
"""

import re
import shlex
import subprocess
import sys
import textwrap
from dataclasses import fields
from pathlib import Path

import pytest
from tests.support.running import Process

from pointsman.artifact.layout import VARIANTS
from pointsman.artifact.manifest import Manifest
from pointsman.cli.__main__ import COMMANDS, build_parser
from pointsman.errors import PointsmanError
from pointsman.runtime.router import shipped_artifact

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

_BLOCK = re.compile(r"^([ ]*)```([\w-]*)[^\n]*\n(.*?)^\1```[ ]*$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
_HEADING = re.compile(r"^#+ +(.+?)\s*$", re.MULTILINE)


def _blocks(*languages: str) -> list[tuple[str, str]]:
    """(where, code) of every fenced block in one of the languages."""
    return [
        (f"{page.relative_to(ROOT)}:{text[: found.start()].count(chr(10)) + 1}", textwrap.dedent(found[3]))
        for page in PAGES
        for text in [page.read_text(encoding="utf-8")]
        for found in _BLOCK.finditer(text)
        if found[2] in languages
    ]


def _commands() -> list[tuple[str, list[str]]]:
    """(where, arguments) of every `pointsman ...` line in a shell block."""
    commands = []
    for where, code in _blocks("sh", "bash"):
        for line in code.replace("\\\n", " ").splitlines():
            words = _words(line)
            if words[:1] == ["pointsman"]:
                commands.append((where, words[1:]))
    return commands


def _words(line: str) -> list[str]:
    """The words of one command: up to a comment, a pipe, a redirection or the next command."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in lexer:
        if set(word) <= set("();<>|&"):
            break
        words.append(word)
    return words


def _anchors(page: Path) -> set[str]:
    """The anchors that headings have on the usual hosts."""
    text = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in _HEADING.findall(text)}


def _broken_links(page: Path) -> list[str]:
    broken = []
    for target in _LINK.findall(_BLOCK.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in _anchors(file)):
            broken.append(target)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    assert _broken_links(page) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One\n[a](gone.md) [b](#one) [c](#two) [d](page.md#one) [e](https://x.y/z)\n")
    assert _broken_links(page) == ["gone.md", "#two"]


@pytest.mark.parametrize(("where", "arguments"), _commands(), ids=lambda value: str(value)[:60])
def test_every_command_is_one_that_the_parser_takes(where: str, arguments: list[str]) -> None:
    parser, _ = build_parser()
    try:
        parser.parse_args(arguments)
    except SystemExit as stop:
        # --help and --version end with 0.
        assert stop.code == 0, f"{where}: pointsman {' '.join(arguments)}"
    except PointsmanError as error:
        pytest.fail(f"{where}: {error}")


def test_a_wrong_option_is_found() -> None:
    parser, _ = build_parser()
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(_words('pointsman route "a b" --no-such-option | head')[1:])
    assert stop.value.code == 2


def test_the_command_line_page_names_every_command_and_option_that_it_may() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"**`{name}`**" not in page] == []
    known = {option for help_text in _helps() for option in re.findall(r"--[a-z][\w-]*", help_text)}
    assert set(re.findall(r"--[a-z][\w-]*", page)) <= known | {"--help"}


def _helps() -> list[str]:
    parser, _ = build_parser()
    parsers, helps = [parser], []
    while parsers:
        one = parsers.pop()
        helps.append(one.format_help())
        for action in one._actions:
            if isinstance(action.choices, dict):
                parsers.extend(action.choices.values())
    return helps


def test_the_map_of_modules_names_files_that_are_there() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`([a-z_0-9/]+(?:\.py|/))`", page)
    assert len(named) > 20
    source = ROOT / "src" / "pointsman"
    assert [name for name in named if not (source / name).exists() and not (ROOT / name).exists()] == []


def test_the_format_page_names_every_key_of_the_manifest() -> None:
    page = (ROOT / "docs" / "artifact-format.md").read_text(encoding="utf-8")
    keys = {"schema", *(field.name for field in fields(Manifest))}
    table = page.partition("## The manifest")[2].partition("**Identity.**")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == keys
    assert [name for name in VARIANTS.values() if f"`{name}`" not in page] == []


@pytest.mark.parametrize(("where", "code"), _blocks("python"), ids=lambda value: str(value)[:40])
def test_every_python_block_compiles(where: str, code: str) -> None:
    compile(code, where, "exec")


RUNS = [(where, code) for where, code in _blocks("python") if code.startswith("# runs\n")]
BESIDE = "# runs beside pointsman serve --demo\n"
RUNS_BESIDE = [(where, code) for where, code in _blocks("python") if code.startswith(BESIDE)]


def test_there_are_blocks_that_run() -> None:
    assert RUNS
    assert RUNS_BESIDE


@pytest.mark.parametrize(("where", "code"), RUNS, ids=lambda value: str(value)[:40])
def test_what_claims_to_run_runs(where: str, code: str, tmp_path: Path) -> None:
    _run(where, code, tmp_path)


@pytest.mark.parametrize(("where", "code"), RUNS_BESIDE, ids=lambda value: str(value)[:40])
def test_what_claims_to_run_beside_the_gateway_reaches_both_targets(
    where: str, code: str, tmp_path: Path
) -> None:
    with (tmp_path / "log").open("wb") as log:
        gateway = Process(shipped_artifact(), log, "--demo")
        try:
            printed = _run(where, code.replace("http://127.0.0.1:8000", gateway.url), tmp_path)
        finally:
            assert gateway.stop() == 0
    assert re.findall(r"^(local|cloud)\b", printed, re.MULTILINE) == ["local", "cloud"]


def _run(where: str, code: str, directory: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{where}\n{done.stderr}"
    return done.stdout
