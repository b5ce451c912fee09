"""The flags that say how files of queries are read, the same for every command that reads them."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pointsman.datasets.rows import Columns


def add_data_flags(parser: argparse.ArgumentParser, label: str | None = "label") -> None:
    """Declare them; `label` is the default of --label."""
    add_column_flag(parser)
    parser.add_argument("--label", default=label, help="column of the label (default: label)")
    parser.add_argument(
        "--local-when", metavar="VALUE", help="the label that means local; every other one means cloud"
    )


def add_column_flag(parser: argparse.ArgumentParser) -> None:
    """Declare the text's column alone."""
    parser.add_argument("--column", default="query", help="column of the text (default: query)")


def columns_of(args: argparse.Namespace) -> "Columns":
    """What the flags say."""
    from pointsman.datasets.rows import Columns

    return Columns(args.column, args.label or "label", args.local_when)
