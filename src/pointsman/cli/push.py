"""Put an artifact on the Hugging Face Hub: every file in one commit, with its model card and LFS rules.

The token is the Hub's own: `hf auth login`, or HF_TOKEN. The artifact is verified before anything is sent.
The address that is printed can be used wherever an artifact is named.

Examples:
  pointsman push router owner/name --private
  pointsman route --artifact hub:owner/name "Thanks for your help"
"""

import argparse
import json
from pathlib import Path

from pointsman.artifact.address import open_artifact
from pointsman.errors import SettingsError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("artifact", type=Path, help="directory of an artifact")
    parser.add_argument("repository", help="owner/name")
    parser.add_argument(
        "--revision", default="main", help="branch; created if it does not exist (default: main)"
    )
    parser.add_argument("--private", action="store_true", help="make a new repository private")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> int:
    from pointsman.artifact.hub import HubAddress
    from pointsman.deploy.hub import push

    if "@" in args.repository:
        raise SettingsError(f"{args.repository}: name the branch with --revision.")
    address = HubAddress.parse(f"{args.repository}@{args.revision}")
    pushed = push(open_artifact(args.artifact), address, private=args.private)
    facts = {"repository": pushed.repository, "commit": pushed.revision, "artifact": str(pushed)}
    print(json.dumps(facts) if args.json else pushed)
    return 0
