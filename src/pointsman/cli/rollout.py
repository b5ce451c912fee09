"""Bring a new router into a running gateway: shadow, canary, promote, roll back, over its admin routes.

`shadow` lets a second artifact decide too and only counts; `canary` lets it decide a share. `promote`
refuses if too few decisions were compared. With --registry, versions are named as `versions` names them,
and the gateway has to serve REGISTRY/<alias>; then the alias moves, too.

Examples:
  pointsman rollout shadow registry/20260101_120000-1a2b3c4d
  pointsman rollout status
  pointsman rollout promote 20260101_120000-1a2b3c4d --registry registry
  pointsman rollout rollback --registry registry
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

from pointsman.artifact.address import open_artifact, version_of
from pointsman.artifact.registry import STABLE, Registry
from pointsman.artifact.store import Artifact
from pointsman.cli.parsing import number, whole
from pointsman.errors import InputError, PointsmanError, SettingsError, UpstreamError

_WAIT_S = 120.0
_END = {"artifact": None, "share": 0.0, "shadow": False}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("status", help="what serves, what is compared, and how the two differ")
    actions.add_parser("shadow", help="let an artifact decide too, and only compare")
    canary = actions.add_parser("canary", help="let an artifact decide a share of the texts")
    canary.add_argument("--share", type=number(0, 1), required=True, help="of the texts, 0..1")
    promote = actions.add_parser("promote", help="serve what was compared, and end the comparison")
    promote.add_argument(
        "--least", type=whole(1), default=200, help="decisions that must be compared (default: 200)"
    )
    promote.add_argument("--yes", action="store_true", help="promote without a comparison")
    actions.add_parser("rollback", help="serve the version before, of a registry")
    actions.add_parser("stop", help="end the shadow or the canary")
    for name in ("shadow", "canary", "promote"):
        actions.choices[name].add_argument("artifact", help="path, or name of a version with --registry")
    for name, action in actions.choices.items():
        if name not in ("status", "stop"):
            action.add_argument("--registry", type=Path, help="directory of the registry")
            action.add_argument(
                "--alias", default=STABLE, help=f"that the gateway serves (default: {STABLE})"
            )
        action.add_argument(
            "--admin-url", default="http://127.0.0.1:8001", help="the gateway's admin address"
        )
        action.add_argument("--key-env", default="POINTSMAN_ADMIN_KEY", help="variable with an admin key")
        action.add_argument("--json", action="store_true", help="the gateway's state as JSON")


def run(args: argparse.Namespace) -> int:
    if args.action in ("shadow", "canary"):
        change = {"artifact": str(_path(args)), "shadow": args.action == "shadow"}
        state = _ask(args, "/admin/canary", {**change, "share": getattr(args, "share", 0.0)})
    elif args.action == "stop":
        state = _ask(args, "/admin/canary", _END)
    elif args.action == "status":
        state = _ask(args, "/admin/state")
    else:
        _promote(args) if args.action == "promote" else _roll_back(args)
        state = _ask(args, "/admin/state")
    print(json.dumps(state) if args.json else _readable(state))
    return 0


def _promote(args: argparse.Namespace) -> None:
    state = _ask(args, "/admin/state")
    artifact = open_artifact(_path(args))
    if not args.yes and (not _is(artifact, state["second"]) or _compared(state)["compared"] < args.least):
        print(_readable(state))
        raise InputError(
            f"{args.artifact} was not compared with what serves in {args.least:,} decisions: let it run as a "
            "shadow first (`rollout shadow`), lower --least, or promote it with --yes."
        )
    if args.registry is None:
        _ask(args, "/admin/reload", {"artifact": str(artifact.path)})
    else:
        registry = Registry(args.registry)
        registry.promote(args.artifact, args.alias)
        try:
            served = _ask(args, "/admin/reload", {})["version"]
            if not _is(artifact, served):
                raise SettingsError(f"the gateway does not serve {args.registry / args.alias}.")
        except PointsmanError:
            registry.rollback(args.alias)
            raise
    _ask(args, "/admin/canary", _END)


def _is(artifact: Artifact, version: str | None) -> bool:
    """Whether the gateway's name of a version is that of this artifact."""
    name = version_of(artifact) or artifact.manifest.id[:12]
    return version is not None and f"{version}-".startswith(f"{name}-")


def _roll_back(args: argparse.Namespace) -> None:
    if args.registry is None:
        raise SettingsError("rollback: --registry says which version was before.")
    # An alias that moves though no gateway follows would move once more at the next try.
    _ask(args, "/admin/state")
    Registry(args.registry).rollback(args.alias)
    _ask(args, "/admin/reload", {})


def _path(args: argparse.Namespace) -> Path:
    """Where the artifact is; made absolute, because the gateway may run in another directory."""
    path = Path(args.artifact) if args.registry is None else args.registry / args.artifact
    return path.absolute() if path.parent.is_dir() else path


def _ask(args: argparse.Namespace, path: str, change: dict[str, Any] | None = None) -> dict[str, Any]:
    import httpx

    key = os.environ.get(args.key_env, "")
    headers = {"authorization": f"Bearer {key}"} if key else {}
    method = "GET" if change is None else "POST"
    try:
        answer = httpx.request(
            method, args.admin_url + path, json=change, headers=headers, timeout=_WAIT_S, trust_env=False
        )
        said: dict[str, Any] = answer.json()
        if answer.status_code == 200 and "version" in said:
            return said
        message = said["error"]["message"]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, LookupError, TypeError):
        raise UpstreamError(f"no gateway answers at {args.admin_url}: see --admin-url.") from None
    hint = f" The key is read from {args.key_env}." if answer.status_code in (401, 403) else ""
    raise UpstreamError(f"{args.admin_url}{path}: {message}.{hint}")


def _compared(state: dict[str, Any]) -> dict[str, int]:
    """The comparison, of all workers together."""
    shadows = [worker["shadow"] for worker in state.get("workers", [state])]
    return {name: sum(one[name] for one in shadows) for name in ("compared", "to_local", "to_cloud")}


def _readable(state: dict[str, Any]) -> str:
    lines = [f"serves    {state['version']}"]
    if state["second"] is not None:
        how = "compares only" if state["shadow"]["on"] else f"decides {state['canary_share']:.0%}"
        lines.append(f"second    {state['second']}, {how}")
    found = _compared(state)
    if n := found["compared"]:
        same = n - found["to_local"] - found["to_cloud"]
        lines += [
            f"compared  {n:,} decisions: {same / n:.1%} the same",
            f"          {found['to_cloud'] / n:.1%} to the cloud by the second only",
            f"          {found['to_local'] / n:.1%} to local by the second only",
        ]
    return "\n".join(lines)
