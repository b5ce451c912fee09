"""The flags that overrule a router's policy, the same for every command that decides."""

import argparse


def add_policy_flags(parser: argparse.ArgumentParser) -> None:
    """Declare them; they stay text, which `Settings.overruled` and the gateway's settings read."""
    parser.add_argument(
        "--cloud-threshold",
        help="send to the cloud from this p_cloud on, 0..1; alone, it switches the confidence rule off",
    )
    parser.add_argument(
        "--confidence-threshold", help="what is not the safe target needs this probability, 0..1"
    )
    parser.add_argument("--safe-target", help="local or cloud: where doubtful queries go")
