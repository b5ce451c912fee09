"""Check every file of an artifact against its manifest: nothing missing, altered or added.

Files that systems and tools leave in a directory (.DS_Store, .gitattributes, lost+found) cause a warning.

Exit code 0 when every file is as it was built, 3 otherwise.
"""

import argparse
import json
import sys
from pathlib import Path

from pointsman.artifact.address import open_artifact, shipped_artifact


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("artifact", type=Path, nargs="?", help="directory (default: the shipped router)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> int:
    artifact = open_artifact(args.artifact or shipped_artifact())
    left = artifact.verify()
    if left:
        print(f"pointsman verify: warning: not part of the artifact, and never read: {left}", file=sys.stderr)
    manifest = artifact.manifest
    if args.json:
        print(
            json.dumps(
                {"path": str(artifact.path), "id": manifest.id, "files": len(manifest.files), "ok": True}
            )
        )
    else:
        for name, digest in sorted(manifest.files.items()):
            print(f"ok  {digest.sha256[:12]}  {digest.size_bytes:>11,} bytes  {name}")
        print(f"ok  {manifest.name}: {len(manifest.files)} files, artifact {manifest.id[:12]}")
    return 0
