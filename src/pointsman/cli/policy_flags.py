"""The flags that name a router and overrule its policy, the same for every command that decides."""

import argparse
from pathlib import Path
from typing import Any

from pointsman.cli.parsing import number
from pointsman.settings import Settings


def add_router_flags(parser: argparse.ArgumentParser) -> None:
    """Declare which router, and the policy."""
    parser.add_argument(
        "--artifact", type=Path, help="directory of an artifact (default: the shipped router)"
    )
    parser.add_argument("--variant", help="which of its files to run: int8, folded, plain, fp16")
    add_policy_flags(parser)


def add_policy_flags(parser: argparse.ArgumentParser) -> None:
    """Declare them; they stay text, which `Settings.overruled` and the gateway's settings read."""
    parser.add_argument(
        "--cloud-threshold",
        help="send to the cloud from this p_cloud on, 0..1; alone, it switches the confidence rule off",
    )
    parser.add_argument(
        "--confidence-threshold", help="a target other than the safe one needs this probability, 0..1"
    )
    parser.add_argument("--safe-target", help="target of doubtful queries: local or cloud")


def add_price_flags(parser: argparse.ArgumentParser) -> None:
    """Declare what an answer of each model costs."""
    for name, price in (("local", 0), ("cloud", 1)):
        words = f"price of an answer of the {name} model, in any unit (default: {price})"
        parser.add_argument(f"--price-{name}", type=number(), default=float(price), help=words)


def settings_of(args: argparse.Namespace, **more: Any) -> Settings:
    """The environment's settings, overruled by the flags of the policy and `more`."""
    return Settings.load().overruled(
        confidence_threshold=args.confidence_threshold,
        cloud_threshold=args.cloud_threshold,
        safe_target=args.safe_target,
        **more,
    )
