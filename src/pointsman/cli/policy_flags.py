"""The flags that overrule a router's policy, the same for every command that decides."""

import argparse


def add_policy_flags(parser: argparse.ArgumentParser) -> None:
    """Declare them; they stay text, which `Settings.overruled` and the gateway's settings read."""
    parser.add_argument("--cloud-threshold", help="send to the cloud from this probability on, 0..1")
    parser.add_argument("--confidence-threshold", help="below it the safe target is used, 0..1")
    parser.add_argument("--safe-target", help="local or cloud: where doubtful queries go")
