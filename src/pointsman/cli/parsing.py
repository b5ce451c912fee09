"""An argument parser whose errors are one line, with the word that was probably meant."""

import argparse
import difflib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

_SHOWN_CHOICES = 9
_MOST = 2**31 - 1
_CHOICE = re.compile(r"argument (\S+): invalid choice: (.*?) \(choose from .*\)", re.DOTALL)


class Parser(argparse.ArgumentParser):
    """One line on standard error and exit code 2, in place of the usage."""

    def parse_all(self, words: Sequence[str]) -> argparse.Namespace:
        """Parse a command line; a flag that the command does not know ends the process, like any mistake."""
        args, unknown = self.parse_known_args(words)
        if unknown:
            command: Parser = next(self.subparsers())[args.command]
            flag = unknown[0].partition("=")[0]
            command.error(f"unknown argument {flag!r}{nearest(flag, command.flags())}")
        return args

    def error(self, message: str) -> NoReturn:
        """End the process."""
        if found := _CHOICE.fullmatch(message):
            name, word = found[1], found[2].strip("'\"")
            known = [str(c) for a in self._actions if name in _names(a) for c in a.choices or ()]
            listed = "" if len(known) > _SHOWN_CHOICES else f" (choose from {', '.join(known)})"
            what = f"{name}: unknown" if name.startswith("-") else f"unknown {name.lower()}"
            message = f"{what} {word!r}{nearest(word, known)}{listed}"
        self.exit(2, f"{self.prog}: {message} (usage: {self.prog} --help)\n")

    def flags(self) -> list[str]:
        """Every flag of the command and of its actions."""
        shown = [action for action in self._actions if action.help != argparse.SUPPRESS]
        own = [flag for action in shown for flag in action.option_strings]
        return own + [f for choices in self.subparsers() for sub in choices.values() for f in sub.flags()]

    def subparsers(self) -> "Iterator[dict[str, Parser]]":
        """Name to parser, of the commands or actions there are."""
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                yield action.choices


def whole(least: int, most: int = _MOST) -> Callable[[str], int]:
    """An argument's type: a whole number in these bounds."""
    expected = f"of at least {least}" if most == _MOST else f"from {least} to {most}"

    def read(text: str) -> int:
        digits = text.strip()
        # Python refuses to read thousands of digits, with an error of its own.
        if not digits.isdecimal() or len(digits) > 10 or not least <= int(digits) <= most:
            raise argparse.ArgumentTypeError(f"expected a whole number {expected}, found {text[:9]!r}")
        return int(digits)

    return read


def number(least: float = 0.0, most: float = float("inf")) -> Callable[[str], float]:
    """An argument's type: a finite number in these bounds."""
    expected = f"from {least:g} to {most:g}" if most < float("inf") else f"of at least {least:g}"

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not (least <= value <= most and value < float("inf")):
            raise argparse.ArgumentTypeError(f"expected a number {expected}, found {text[:9]!r}")
        return value

    return read


def positive(text: str) -> float:
    """An argument's type: a finite number above 0."""
    value = number()(text)
    if not value:
        raise argparse.ArgumentTypeError(f"expected a number above 0, found {text[:9]!r}")
    return value


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Declare `--threads`: at least 1, by default as many as the process has processors."""
    # A default that is text is read only by the command that runs, as if it had been written.
    parser.add_argument("--threads", type=_threads, default="all", help="threads (default: all processors)")


def _threads(text: str) -> int:
    if text != "all":
        return whole(1)(text)
    from pointsman.runtime.session import available_threads

    return available_threads()


def nearest(word: str, known: Sequence[str]) -> str:
    """Which known word was probably meant, as the end of a sentence; empty where none is near."""
    near = difflib.get_close_matches(word, known, n=1)
    return f": did you mean {near[0]}?" if near else ""


def _names(action: argparse.Action) -> list[str]:
    return ["/".join(action.option_strings), str(action.metavar), action.dest]
