"""Print a script that completes commands, flags and files in a shell.

Examples:
  pointsman completion bash > ~/.local/share/bash-completion/completions/pointsman
  pointsman completion zsh > ~/.zfunc/_pointsman       # a folder of your $fpath
  pointsman completion fish > ~/.config/fish/completions/pointsman.fish
"""

import argparse
from pathlib import Path

from pointsman.artifact.address import checkpoint_at
from pointsman.cli.parsing import Parser


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="your shell")


def run(args: argparse.Namespace) -> int:
    import shtab

    from pointsman.cli.__main__ import build_parser

    parser, _ = build_parser()
    _complete_files(parser)
    print(shtab.complete(parser, args.shell))
    return 0


def _complete_files(parser: Parser) -> None:
    import shtab

    for action in parser._actions:
        if action.type in (Path, checkpoint_at):
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    for commands in parser.subparsers():
        for command in commands.values():
            _complete_files(command)
