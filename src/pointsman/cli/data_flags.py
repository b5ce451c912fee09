"""The flags that say how files of queries are read, the same for every command that reads them."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pointsman.datasets.rows import Columns

FORMATS = """A file is JSON lines, JSON, CSV with any delimiter, Parquet, Arrow or plain text, by its suffix;
text files may be gzipped (.gz)."""


def add_data_flags(parser: argparse.ArgumentParser) -> None:
    """Declare them."""
    add_column_flag(parser)
    parser.add_argument("--label", default="label", help="column of the label (default: label)")
    parser.add_argument(
        "--local-when", metavar="VALUE", help="the label that means local; every other one means cloud"
    )


def add_column_flag(parser: argparse.ArgumentParser) -> None:
    """Declare the text's column alone."""
    parser.add_argument("--column", default="query", help="column of the text (default: query)")


def columns_of(args: argparse.Namespace) -> "Columns":
    """What the flags say."""
    from pointsman.datasets.rows import Columns

    return Columns(args.column, args.label, args.local_when)
