"""Flags under their old names: they still work for one release, and say what they are called now."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any


def add_renamed_flag(parser: argparse.ArgumentParser, new: str, old: str, **options: Any) -> None:
    """Declare a flag, and its old name, which warns on standard error; `options` as for `add_argument`."""
    added = parser.add_argument(new, **options)
    hidden = {"dest": added.dest, "help": argparse.SUPPRESS, "default": argparse.SUPPRESS}
    parser.add_argument(old, action=_Renamed, new=new, **{**options, **hidden})


class _Renamed(argparse.Action):
    def __init__(self, *args: Any, new: str, **options: Any) -> None:
        self._new = new
        super().__init__(*args, **options)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        print(f"{option_string} is deprecated: it is called {self._new} now.", file=sys.stderr)
        setattr(namespace, self.dest, values)
