"""Log and register artifacts with MLflow, copy a registry's aliases to its models, and fetch artifacts.

MLFLOW_TRACKING_URI names the server, for example sqlite:///mlflow.db. A model of the pyfunc flavour
contains the whole artifact: texts in, decisions out. A model of the onnx flavour is the graph alone.

Examples:
  pointsman mlflow log router
  pointsman mlflow register router query-router --alias stable
  pointsman mlflow mirror registry query-router
  pointsman mlflow load models:/query-router@stable --output router
"""

import argparse
import json
from pathlib import Path

from pointsman.artifact.address import open_artifact
from pointsman.artifact.registry import Registry
from pointsman.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    log = actions.add_parser("log", help="log an artifact as a model of a new run")
    register = actions.add_parser("register", help="log it, and register it as a version of a model")
    for action in (log, register):
        action.add_argument("artifact", type=Path, help="directory of an artifact")
        action.add_argument("--flavor", choices=("pyfunc", "onnx"), default="pyfunc", help="default: pyfunc")
    register.add_argument("model", help="name of the registered model")
    register.add_argument("--alias", help="point this alias at the version: stable, canary")
    mirror = actions.add_parser("mirror", help="copy the aliases of a pointsman registry to a model")
    mirror.add_argument("registry", type=Path, help="directory of the registry")
    mirror.add_argument("model", help="name of the registered model")
    load = actions.add_parser("load", help="fetch the artifact of a model and verify it")
    load.add_argument("address", help="models:/NAME@ALIAS, models:/NAME/VERSION or runs:/...")
    load.add_argument("--output", type=Path, required=True, help="the new directory")
    for action in actions.choices.values():
        action.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> int:
    facts = _act(args)
    print(json.dumps(facts) if args.json else "\n".join(f"{key}  {value}" for key, value in facts.items()))
    return 0


def _act(args: argparse.Namespace) -> dict[str, str]:
    from pointsman.deploy import mlflow

    if args.action == "log":
        return {"model": mlflow.log(open_artifact(args.artifact), args.flavor)}
    if args.action == "register":
        version = mlflow.register(open_artifact(args.artifact), args.model, args.alias, args.flavor)
        return {"model": f"models:/{args.model}/{version}"}
    if args.action == "mirror":
        registry = Registry(args.registry)
        if not registry.aliases():
            raise InputError(f"{args.registry} has no alias. Set one with `pointsman versions promote`.")
        return mlflow.mirror(registry, args.model)
    return {"artifact": str(mlflow.load(args.address, args.output).path)}
