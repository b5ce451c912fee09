"""Keep artifact versions in a registry on disk: immutable versions, atomic aliases, a history.

Examples:
  pointsman versions publish router --registry registry
  pointsman versions promote 20260101_120000-1a2b3c4d --registry registry
  pointsman route --artifact registry/versions/... "Hello"
  pointsman versions rollback --registry registry
"""

import argparse
import json
from pathlib import Path
from typing import Any

from pointsman.artifact.address import open_artifact
from pointsman.artifact.registry import STABLE, Registry
from pointsman.errors import RegistryError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    publish = actions.add_parser("publish", help="copy an artifact in as a new, immutable version")
    publish.add_argument("artifact", type=Path, help="directory of an artifact")
    publish.add_argument("--version", help="its name (default: the time and its id)")
    publish.add_argument("--alias", help="promote it to this alias at once")
    actions.add_parser("list", help="versions and the aliases that name them")
    promote = actions.add_parser("promote", help="point an alias at a version, in one atomic step")
    promote.add_argument("version", help="its name")
    promote.add_argument("--alias", default=STABLE, help=f"default: {STABLE}")
    rollback = actions.add_parser("rollback", help="point an alias back to the version before")
    rollback.add_argument("--alias", default=STABLE, help=f"default: {STABLE}")
    verify = actions.add_parser("verify", help="check the files of one version, or of all")
    verify.add_argument("version", nargs="?", help="its name (default: all)")
    actions.add_parser("history", help="every publish, promotion and rollback")
    for action in actions.choices.values():
        action.add_argument("--registry", type=Path, required=True, help="directory of the registry")
        action.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> int:
    rows = _act(Registry(args.registry), args)
    if args.json:
        print(json.dumps(rows))
    else:
        for row in rows:
            print("  ".join(str(value) for value in row.values() if value not in ("", None)))
    return 0


def _act(registry: Registry, args: argparse.Namespace) -> list[dict[str, Any]]:
    if args.action != "publish" and not registry.exists:
        raise RegistryError(f"no registry at {registry.path}; `pointsman versions publish` makes one.")
    if args.action == "publish":
        version = registry.publish(open_artifact(args.artifact), args.version)
        if args.alias:
            registry.promote(version.name, args.alias)
        return [{"version": version.name, "artifact": version.artifact_id, "alias": args.alias}]
    if args.action == "promote":
        registry.promote(args.version, args.alias)
        return [{"alias": args.alias, "version": registry.aliases()[args.alias]}]
    if args.action == "rollback":
        return [{"alias": args.alias, "version": registry.rollback(args.alias)}]
    if args.action == "verify":
        return [{"version": name, "verified": "ok"} for name in registry.verify(args.version)]
    if args.action == "history":
        return registry.history()
    return [
        {"version": v.name, "artifact": v.artifact_id[:12], "aliases": ", ".join(v.aliases)}
        for v in registry.versions()
    ]
