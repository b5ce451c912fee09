"""The pages say what is true: links resolve, commands parse, code compiles, and blocks print what is shown.

Which blocks run, and how: `tests/support/snippets.py`.
"""

import re
import shlex
import textwrap
from dataclasses import fields
from pathlib import Path

import pytest
from tests.support.places import ROOT
from tests.support.snippets import PAGES, is_as_shown, session, snippets

import pointsman
from pointsman.artifact.layout import VARIANTS
from pointsman.artifact.manifest import Manifest
from pointsman.cli.__main__ import COMMANDS, build_parser
from pointsman.errors import PointsmanError

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
    """(where, arguments) of every `pointsman ...` line in a shell block, and after `$ ` in a transcript."""
    commands = []
    for where, code in _blocks("sh", "bash", "console"):
        for line in code.replace("\\\n", " ").splitlines():
            if code.startswith("$ ") and not line.startswith("$ "):
                continue
            words = _words(line.removeprefix("$ "))
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
    text = re.sub(r"`[^`\n]*`", "", _BLOCK.sub("", page.read_text(encoding="utf-8")))  # code is no link
    for target in _LINK.findall(text):
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
    keys = {"schema", "sha256", *(field.name for field in fields(Manifest))}
    table = page.partition("## The manifest")[2].partition("**Identity.**")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == keys
    assert [name for name in VARIANTS.values() if f"`{name}`" not in page] == []


def test_the_api_page_describes_what_the_package_offers() -> None:
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    described = {
        name.rpartition(".")[2] for name in re.findall(r"^::: (pointsman\.\w+)$", page, re.MULTILINE)
    }
    assert described - {"errors"} == set(pointsman.__all__) - {"__version__", "PointsmanError"}


def test_every_page_is_in_the_sites_navigation() -> None:
    site = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    named = set(re.findall(r": ([\w/-]+\.md)$", site, re.MULTILINE))
    pages = {page.relative_to(ROOT / "docs").as_posix() for page in PAGES if page.name != "README.md"}
    assert pages <= named


@pytest.mark.parametrize(("where", "code"), _blocks("python"), ids=lambda value: str(value)[:40])
def test_every_python_block_compiles(where: str, code: str) -> None:
    compile(code, where, "exec")


RUNNING = [page for page in PAGES if snippets(page)]


@pytest.mark.parametrize("page", RUNNING, ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_that_run_print_what_the_page_shows(page: Path) -> None:
    with session(page) as running:
        for snippet in snippets(page):
            output = running.run(snippet)
            assert is_as_shown(snippet, output), f"{snippet.where}\n{output}\n{REFRESH}"


REFRESH = "python -m tests.support.snippets writes what the blocks print now"


def test_the_readme_and_the_concepts_run() -> None:
    assert {ROOT / "README.md", ROOT / "docs" / "concepts.md"} <= set(RUNNING)


def test_blocks_share_their_names_and_a_wrong_output_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    block = "<!-- run -->\n```python\n{}\n```\n\n<!-- prints -->\n```text\n{}\n```\n"
    shell = "<!-- run -->\n```console\n$ echo one\none\n$ echo two | tr t T\n...wo\n```\n"
    page.write_text(block.format("n = 1\nprint(n)", "1") + block.format("print(n + 1)", "3") + shell)
    with session(page) as running:
        found = [is_as_shown(snippet, running.run(snippet)) for snippet in snippets(page)]
    assert found == [True, False, True]


def test_a_block_that_fails_says_where(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- run -->\n```python\n1 / 0\n```\n")
    with session(page) as running, pytest.raises(RuntimeError, match=r"page\.md:2(.|\n)*ZeroDivisionError"):
        running.run(snippets(page)[0])
