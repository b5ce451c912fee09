"""Write a folder that is ready to deploy: container, JavaScript, Kubernetes, a model server, and others.

`--list` says what each target is for, what it needs, and how it was tested. The folder is written
completely or not at all, and never over an existing one.

Examples:
  pointsman package --list
  pointsman package docker router --output router-docker
  pointsman package triton router --output model-repository
"""

import argparse
import json
from pathlib import Path

from pointsman.artifact.address import open_artifact
from pointsman.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", nargs="?", help="where it runs; --list shows the targets")
    parser.add_argument("artifact", type=Path, nargs="?", help="directory of an artifact")
    parser.add_argument("--output", type=Path, help="the folder to write; it must not exist")
    parser.add_argument("--list", action="store_true", help="list the targets")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    from pointsman.deploy.package.build import build_package
    from pointsman.deploy.package.catalogue import TARGETS, target_named

    if args.list:
        if args.json:
            facts = {
                t.name: {"for": t.purpose, "needs": t.needs, "tested": t.tested} for t in TARGETS.values()
            }
            print(json.dumps(facts, indent=2))
        else:
            for target in TARGETS.values():
                print(f"{target.name}\n  for     {target.purpose}\n  needs   {target.needs}")
                print(f"  tested  {target.tested}")
        return 0
    if args.target is None:
        raise InputError("name a target; `pointsman package --list` shows them.")
    target = target_named(args.target)
    if args.artifact is None or args.output is None:
        raise InputError(f"expected: pointsman package {target.name} ARTIFACT --output DIR.")
    names = build_package(target, open_artifact(args.artifact), args.output)
    if args.json:
        print(json.dumps({"target": target.name, "path": str(args.output), "files": names}))
    else:
        print(args.output)
    return 0
